#include <set>
#include <utility>

#include "base/options.h"
#include "base/options_text.h"

namespace decant::base {

namespace {

std::string code(const std::string& text) { return "`" + text + "`"; }

std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::vector<std::string> coded(const std::vector<std::string>& words) {
  std::vector<std::string> out;
  out.reserve(words.size());
  for (const auto& word : words) out.push_back(code(word));
  return out;
}

/// What of `options` differs from the defaults of its kind.
Json changed_defaults(KindOptions& value, const std::string& type, const KindSet& kinds) {
  Json out = Json::object();
  if (type != value.type && !value.type.empty()) out["type"] = value.type;
  if (value.options == nullptr) return out;
  const Json plain = write_options(*kinds.options_of(value.type.empty() ? type : value.type));
  const Json written = write_options(*value.options);
  for (const auto& [key, item] : written.items())
    if (!plain.contains(key) || plain.at(key) != item) out[key] = item;
  return out;
}

/// Registries already described, with the key under which they were; ends the recursion of a kind inside itself too.
/// And the sections of groups: kinds of one registry that share a group share its section.
struct Described {
  std::map<const KindSet*, std::string> kinds;
  std::set<std::string> groups;
};

/// One table, and after it the sections of the groups and registries that the table names.
class Documenter final : public Fields {
 public:
  Documenter(std::string prefix, Described& described) : prefix_(std::move(prefix)), described_(described) {}

  [[nodiscard]] std::string document(Options& options) {
    options.describe(*this);
    if (rows_.empty()) return "No options.\n" + sections_;
    return "| key | type | default | range or choices | meaning |\n| --- | --- | --- | --- | --- |\n" + rows_ +
           sections_;
  }

  void integer(std::string_view name, std::int64_t& value, Range range, std::string_view help) override {
    row(name, "integer", code(std::to_string(value)), range_text(range), help);
  }
  void real(std::string_view name, double& value, Range range, std::string_view help) override {
    row(name, "number", code(Json(value).dump()), range_text(range), help);
  }
  void flag(std::string_view name, bool& value, std::string_view help) override {
    row(name, "true or false", code(value ? "true" : "false"), "", help);
  }
  void text(std::string_view name, std::string& value, std::string_view help,
            const std::vector<std::string>& choices) override {
    row(name, "text", value.empty() ? "none" : code(value), join(coded(choices)), help);
  }
  void texts(std::string_view name, std::vector<std::string>& value, std::string_view help) override {
    row(name, "list of texts", code(Json(value).dump()), "", help);
  }
  void reals(std::string_view name, std::vector<double>& value, Range range, std::string_view help) override {
    row(name, "list of numbers", code(Json(value).dump()), range_text(range), help);
  }

  void group(std::string_view name, Options& value, std::string_view help) override {
    const std::string key = child_key(prefix_, name);
    const std::string section =
        "\n## " + code(key) + "\n" + std::string(help) + "\n\n" + Documenter(key, described_).document(value);
    if (described_.groups.insert(section).second) sections_ += section;
  }

  void kind(std::string_view name, KindOptions& value, const KindSet& kinds, std::string_view help) override {
    std::string shown = value.type.empty() ? "none" : code(value.type);
    if (!value.type.empty())
      if (const Json changed = changed_defaults(value, value.type, kinds); !changed.empty())
        shown += " with " + code(changed.dump());
    row(name, kinds.noun(), shown, join(coded(kinds.names())), help);
    describe_kinds(child_key(prefix_, name), kinds);
  }

  void kinds(std::string_view name, std::map<std::string, KindOptions>& value, const KindSet& kinds,
             std::string_view help) override {
    Json entries = Json::object();
    for (auto& [entry, options] : value) entries[entry] = changed_defaults(options, entry, kinds);
    row(name, "map of named " + kinds.noun() + " entries", code(entries.dump()), join(coded(kinds.names())), help);
    describe_kinds(child_key(prefix_, name) + ".<name>", kinds);
  }

  void groups(std::string_view name, NamedGroups& value, std::string_view help) override {
    Json entries = Json::object();
    for (const auto& [entry, group] : value.entries()) entries[entry] = write_options(*group);
    row(name, "map of named groups, in order", code(entries.dump()), "", help);
    const std::string key = child_key(prefix_, name) + ".<name>";
    sections_ += "\n## " + code(key) + "\n\n" + Documenter(key, described_).document(*value.make());
  }

  void alternatives(std::string_view name, const std::string& chosen, const KindSet& kinds) override {
    if (!described_.kinds.emplace(&kinds, prefix_).second) {
      sections_ += "\nWith " + code(child_key(prefix_, name)) + ", the options are those of its " + kinds.noun() +
                   ", listed under " + code(described_.kinds.at(&kinds)) + ".\n";
      return;
    }
    for (const auto& type : kinds.names())
      if (type != chosen)
        sections_ += "\n## " + code(prefix_) + " of " + std::string(name) + " " + code(type) + "\n\n" +
                     Documenter(prefix_, described_).document(*kinds.options_of(type));
  }

 private:
  void row(std::string_view name, const std::string& type, const std::string& value, const std::string& allowed,
           std::string_view help) {
    rows_ += "| " + code(child_key(prefix_, name)) + " | " + type + " | " + cell(value) + " | " + cell(allowed) +
             " | " + cell(help) + " |\n";
  }

  void describe_kinds(const std::string& key, const KindSet& kinds) {
    const auto [at, fresh] = described_.kinds.emplace(&kinds, key);
    if (!fresh) {
      sections_ += "\nThe kinds of " + code(key) + " and their options are those of " + code(at->second) + ".\n";
      return;
    }
    for (const auto& type : kinds.names())
      sections_ += "\n## " + code(key) + " of type " + code(type) + "\n\n" +
                   Documenter(key, described_).document(*kinds.options_of(type));
  }

  std::string prefix_, rows_, sections_;
  Described& described_;
};

}  // namespace

std::string document_options(Options& options) {
  Described described;
  return Documenter("", described).document(options);
}

}  // namespace decant::base
