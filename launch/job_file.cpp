#include "launch/job_file.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "base/files.h"

namespace decant::launch {

namespace {

using base::ConfigError;
using base::Json;

constexpr int kNewestVersion = 1;

/// Places of keys, in the order they were met.
using Origins = std::map<std::string, std::string>;

std::string place(const std::string& name, const YAML::Mark& mark) {
  if (mark.is_null()) return name;
  return name + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
}

bool matches_word(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words)
    if (text == word) return true;
  return false;
}

std::optional<Json> as_integer(const std::string& text) {
  std::string_view digits = text;
  int radix = 10;
  if (digits.starts_with("0x") || digits.starts_with("0o")) {
    radix = digits[1] == 'x' ? 16 : 8;
    digits.remove_prefix(2);
    if (digits.starts_with("-")) return std::nullopt;
  } else if (digits.starts_with("+")) {
    digits.remove_prefix(1);
    if (digits.starts_with("-")) return std::nullopt;
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, radix);
  if (digits.empty() || end != digits.data() + digits.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) throw ConfigError("the integer " + text + " has more than 64 bits");
  if (error != std::errc()) return std::nullopt;
  return Json(value);
}

/// YAML 1.2: [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
std::optional<Json> as_real(const std::string& text) {
  if (text.find_first_not_of("+-0123456789.eE") != std::string::npos) return std::nullopt;
  std::string_view digits = text;
  if (digits.starts_with("+")) digits.remove_prefix(1);
  if (digits.empty() || digits == "." || (digits.starts_with("-") && digits.size() != text.size())) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end != digits.data() + digits.size() || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) throw ConfigError("the number " + text + " does not fit 64 bits");
  return Json(value);
}

Json plain_scalar(const std::string& text) {
  if (matches_word(text, {"", "~", "null", "Null", "NULL"})) return {};
  if (matches_word(text, {"true", "True", "TRUE"})) return true;
  if (matches_word(text, {"false", "False", "FALSE"})) return false;
  if (auto integer = as_integer(text)) return *std::move(integer);
  if (auto real = as_real(text)) return *std::move(real);
  return text;
}

/// Walks the nodes of one document.
class Converter {
 public:
  Converter(std::string name, Origins& origins) : name_(std::move(name)), origins_(origins) {}

  Json convert(const YAML::Node& node, const std::string& key, std::size_t depth = 0) {
    // An anchor inside itself would never end, and aliases of aliases grow without bound.
    constexpr std::size_t kMostNodes = 100'000, kDeepest = 64;
    if (++nodes_ > kMostNodes) fail(node, "holds more than 100,000 values");
    if (depth > kDeepest) fail(node, "is nested more than 64 levels deep (an alias inside itself?)");
    switch (node.Type()) {
      case YAML::NodeType::Map:
        return map(node, key, depth + 1);
      case YAML::NodeType::Sequence:
        return sequence(node, key, depth + 1);
      case YAML::NodeType::Scalar:
        return scalar(node);
      default:
        return {};
    }
  }

 private:
  [[noreturn]] void fail(const YAML::Node& node, const std::string& why) const {
    throw ConfigError(place(name_, node.Mark()) + ": " + why);
  }

  Json map(const YAML::Node& node, const std::string& prefix, std::size_t depth) {
    Json out = Json::object();
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) fail(entry.first, "a key must be a word");
      const std::string name = entry.first.Scalar();
      std::string key = prefix;
      if (!key.empty()) key += ".";
      key += name;
      if (out.contains(name)) fail(entry.first, "the key '" + key + "' is there twice");
      origins_[key] = place(name_, entry.first.Mark());
      out[name] = convert(entry.second, key, depth);
    }
    return out;
  }

  Json sequence(const YAML::Node& node, const std::string& key, std::size_t depth) {
    Json out = Json::array();
    for (const auto& item : node) out.push_back(convert(item, key, depth));
    return out;
  }

  Json scalar(const YAML::Node& node) {
    const std::string& tag = node.Tag();
    if (tag == "!" || tag == "tag:yaml.org,2002:str") return node.Scalar();
    if (tag != "?" && !tag.empty()) fail(node, "the tag '" + tag + "' is not known");
    if (matches_word(node.Scalar(), {".inf", ".Inf", ".INF", "+.inf", "-.inf", ".nan", ".NaN", ".NAN"}))
      fail(node, "'" + node.Scalar() + "' is no finite number");
    try {
      return plain_scalar(node.Scalar());
    } catch (const ConfigError& error) {
      fail(node, error.what());
    }
  }

  std::string name_;
  Origins& origins_;
  std::size_t nodes_ = 0;
};

/// Where a document begins, and nothing else of it.
class DocumentStart final : public YAML::EventHandler {
 public:
  YAML::Mark mark;
  void OnDocumentStart(const YAML::Mark& begin) override { mark = begin; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

/// Not by LoadAll: yaml-cpp 0.7 sees documents without end after a bracket too many.
YAML::Node single_document(const std::string& text, const std::string& name) {
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    DocumentStart start;
    if (!parser.HandleNextDocument(start)) return {};
    if (parser.HandleNextDocument(start))
      throw ConfigError(place(name, start.mark) +
                        ": the document has ended before: there is another, or a bracket too many");
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    throw ConfigError(place(name, error.mark) + ": no valid YAML: " + error.msg);
  }
}

/// Words of a message that may be keys: what stands before its first colon, and what stands in quotes.
std::vector<std::string> keys_in(const std::string& message) {
  std::vector<std::string> out{message.substr(0, message.find(": "))};
  for (std::size_t open = 0; (open = message.find('\'', open)) != std::string::npos;) {
    const std::size_t close = message.find('\'', open + 1);
    if (close == std::string::npos) break;
    out.push_back(message.substr(open + 1, close - open - 1));
    open = close + 1;
  }
  return out;
}

}  // namespace

Json parse_value(const std::string& text) {
  Origins origins;
  const YAML::Node node = single_document(text, "'" + text + "'");
  if (node.IsMap() && node.Style() != YAML::EmitterStyle::Flow)
    throw ConfigError("'" + text + "' reads as a map; put the text in quotes, or the map in braces");
  if (node.IsSequence() && node.Style() != YAML::EmitterStyle::Flow)
    throw ConfigError("'" + text + "' reads as a list; put the text in quotes, or the list in brackets");
  return Converter("'" + text + "'", origins).convert(node, "");
}

JobFile JobFile::load(const std::filesystem::path& path) {
  try {
    return parse(base::read_file(path), path.string());
  } catch (const base::FileError& error) {  // what was asked for is wrong, not what was stored
    throw ConfigError(error.what());
  }
}

JobFile JobFile::parse(const std::string& text, const std::string& name) {
  JobFile out;
  out.name_ = name;
  const YAML::Node node = single_document(text, name);
  if (node.IsNull()) throw ConfigError(name + ": is empty; `decant config` prints a job file to begin with");
  if (!node.IsMap())
    throw ConfigError(place(name, node.Mark()) + ": a job file is a map of options ('version: 1', ...)");
  out.tree_ = Converter(name, out.origins_).convert(node, "");
  return out;
}

std::string set_value(Json& tree, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    throw ConfigError("--set " + assignment + ": expected key=value, as in --set teacher.train.max_epochs=3");
  const std::string key = assignment.substr(0, equals);
  try {
    base::set_key(tree, key, parse_value(assignment.substr(equals + 1)));
  } catch (const ConfigError& error) {
    throw ConfigError("--set " + assignment + ": " + error.what());
  }
  return key;
}

void JobFile::set(const std::string& assignment) {
  const std::string key = set_value(tree_, assignment), origin = "--set " + assignment;
  // What was below the key is no longer what the file says.
  std::erase_if(origins_, [&](const auto& entry) { return entry.first.starts_with(key + "."); });
  for (std::size_t end = key.find('.'); end != std::string::npos; end = key.find('.', end + 1))
    origins_.try_emplace(key.substr(0, end), origin);
  origins_[key] = origin;
}

void JobFile::read_into(base::Options& options, const std::function<void()>& check) const {
  check_version();
  try {
    base::read_options(tree_, options);
    if (check) check();
  } catch (const ConfigError& error) {
    throw ConfigError(origin_of(error.what()) + ": " + error.what());
  }
}

void JobFile::check_version() const {
  if (!tree_.contains("version")) throw ConfigError(name_ + ": has no version; its first line should be 'version: 1'");
  if (tree_["version"] == kNewestVersion) return;
  throw ConfigError(origin_of("version") + ": version " + tree_["version"].dump() +
                    " of job files is not known; this decant reads version " + std::to_string(kNewestVersion));
}

std::string JobFile::origin_of(const std::string& message) const {
  for (std::string key : keys_in(message)) {
    while (!key.empty()) {
      if (const auto at = origins_.find(key); at != origins_.end()) return at->second;
      // "labels.temperatures[2]" was written where "labels.temperatures" was.
      const std::size_t cut = key.find_last_of(".[");
      key.resize(cut == std::string::npos ? 0 : cut);
    }
  }
  return name_;
}

}  // namespace decant::launch
