#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/options.h"
#include "base/options_text.h"

namespace decant::base {

namespace {

[[noreturn]] void wrong_type(const std::string& key, const std::string& expected, const Json& found) {
  const std::string hint = expected == "text" && !found.is_structured() && !found.is_null() ? "; put it in quotes" : "";
  throw ConfigError(key + ": expected " + expected + ", found " + value_text(found) + hint);
}

void check_range(const std::string& key, double value, const Range& range, const Json& found) {
  if (value >= range.low && value <= range.high) return;
  throw ConfigError(key + ": " + value_text(found) + " is out of range (" + range_text(range) + ")");
}

/// A float such as 1e6 counts as the integer it is equal to.
std::optional<std::int64_t> as_integer(const Json& found) {
  if (found.is_number_unsigned()) {
    const auto value = found.get<std::uint64_t>();
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
    return static_cast<std::int64_t>(value);
  }
  if (found.is_number_integer()) return found.get<std::int64_t>();
  if (!found.is_number_float()) return std::nullopt;
  const double value = found.get<double>();
  constexpr double kExact = 0x1.0p53;  // beyond it a double no longer names one integer
  if (!(std::abs(value) <= kExact) || value != std::floor(value)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

double as_real(const std::string& key, const Json& found, const Range& range) {
  if (!found.is_number()) wrong_type(key, "a number", found);
  const double value = found.get<double>();
  if (!std::isfinite(value)) throw ConfigError(key + ": expected a finite number, found " + std::to_string(value));
  check_range(key, value, range, found);
  return value;
}

std::unique_ptr<Options> make_options(const std::string& key, const std::string& type, const KindSet& kinds) {
  try {
    return kinds.options_of(type);
  } catch (const ConfigError& error) {
    throw ConfigError(key + ": " + error.what());
  }
}

class Reader final : public Fields {
 public:
  /// `also_known`: keys of this map that somebody else reads.
  Reader(const Json& tree, std::string prefix, std::vector<std::string> also_known = {})
      : tree_(tree), prefix_(std::move(prefix)), known_(std::move(also_known)) {
    // An empty group ("train:" and nothing below) is null in YAML.
    if (!tree_.is_object() && !tree_.is_null())
      wrong_type(prefix_.empty() ? "options" : prefix_, "a map of options", tree_);
  }

  void read(Options& options) {
    options.describe(*this);
    refuse_unknown();
  }

  void integer(std::string_view name, std::int64_t& value, Range range, std::string_view) override {
    const Json* found = find(name);
    if (found == nullptr) return;
    const auto integer = as_integer(*found);
    if (!integer) wrong_type(key(name), "an integer", *found);
    check_range(key(name), static_cast<double>(*integer), range, *found);
    value = *integer;
  }

  void real(std::string_view name, double& value, Range range, std::string_view) override {
    if (const Json* found = find(name)) value = as_real(key(name), *found, range);
  }

  void flag(std::string_view name, bool& value, std::string_view) override {
    const Json* found = find(name);
    if (found == nullptr) return;
    if (!found->is_boolean()) wrong_type(key(name), "true or false", *found);
    value = found->get<bool>();
  }

  void text(std::string_view name, std::string& value, std::string_view,
            const std::vector<std::string>& choices) override {
    const Json* found = find(name);
    if (found == nullptr) return;
    if (!found->is_string()) wrong_type(key(name), "text", *found);
    const auto& chosen = found->get_ref<const std::string&>();
    if (!choices.empty() && std::find(choices.begin(), choices.end(), chosen) == choices.end()) {
      const std::string near = nearest(chosen, choices);
      throw ConfigError(key(name) + ": unknown choice '" + chosen + "'" +
                        (near.empty() ? "" : "; did you mean '" + near + "'?") + " (known: " + join(choices) + ")");
    }
    value = chosen;
  }

  void texts(std::string_view name, std::vector<std::string>& value, std::string_view) override {
    const Json* found = find(name);
    if (found == nullptr) return;
    const Json list = found->is_string() ? Json::array({*found}) : *found;  // one text is a list of one
    if (!list.is_array()) wrong_type(key(name), "a list of texts", list);
    std::vector<std::string> out;
    for (const Json& item : list) {
      if (!item.is_string()) wrong_type(item_key(name, out.size()), "text", item);
      out.push_back(item.get<std::string>());
    }
    value = std::move(out);
  }

  void reals(std::string_view name, std::vector<double>& value, Range range, std::string_view) override {
    const Json* found = find(name);
    if (found == nullptr) return;
    const Json list = found->is_number() ? Json::array({*found}) : *found;
    if (!list.is_array()) wrong_type(key(name), "a list of numbers", list);
    std::vector<double> out;
    for (const Json& item : list) out.push_back(as_real(item_key(name, out.size()), item, range));
    value = std::move(out);
  }

  void group(std::string_view name, Options& value, std::string_view) override {
    // Walked even when absent: kinds inside it get their options made.
    const Json* found = find(name);
    const Json nothing;
    Reader(found == nullptr ? nothing : *found, key(name)).read(value);
  }

  void kind(std::string_view name, KindOptions& value, const KindSet& kinds, std::string_view) override {
    const Json* found = find(name);
    const Json nothing;
    // Without a default type and without an entry there is no kind: whoever needs one says so.
    if (found == nullptr && value.type.empty()) return;
    read_kind(found == nullptr ? nothing : *found, key(name), value, kinds);
  }

  void kinds(std::string_view name, std::map<std::string, KindOptions>& value, const KindSet& kinds,
             std::string_view) override {
    const Json* found = find(name);
    if (found == nullptr) {
      const Json nothing;
      for (auto& [entry, options] : value) {
        if (options.type.empty()) options.type = entry;
        read_kind(nothing, child_key(key(name), entry), options, kinds);
      }
      return;
    }
    if (!found->is_object() && !found->is_null()) wrong_type(key(name), "a map of named entries", *found);
    std::map<std::string, KindOptions> out;
    for (const auto& [entry, tree] : found->items()) {
      KindOptions options{entry, nullptr};
      read_kind(tree, child_key(key(name), entry), options, kinds);
      out.emplace(entry, std::move(options));
    }
    value = std::move(out);
  }

  void groups(std::string_view name, NamedGroups& value, std::string_view) override {
    const Json* found = find(name);
    if (found == nullptr) {
      // As in group(): kinds inside them get their options made.
      const Json nothing;
      for (const auto& [entry, group] : value.entries()) Reader(nothing, child_key(key(name), entry)).read(*group);
      return;
    }
    if (!found->is_object() && !found->is_null()) wrong_type(key(name), "a map of named groups", *found);
    value.clear();
    for (const auto& [entry, tree] : found->items()) Reader(tree, child_key(key(name), entry)).read(value.add(entry));
  }

 private:
  static void read_kind(const Json& tree, const std::string& key, KindOptions& value, const KindSet& kinds) {
    if (tree.is_string()) return read_kind(Json{{"type", tree}}, key, value, kinds);
    if (!tree.is_object() && !tree.is_null()) wrong_type(key, "a " + kinds.noun() + " (a map or its type)", tree);
    std::string type = value.type;
    if (tree.is_object() && tree.contains("type")) {
      if (!tree["type"].is_string()) wrong_type(key + ".type", "text", tree["type"]);
      type = tree["type"].get<std::string>();
    }
    if (type.empty()) throw ConfigError(key + ": needs a type (known: " + join(kinds.names()) + ")");
    // The default kind keeps defaults that its owner changed; another kind starts from its own.
    if (type != value.type || value.options == nullptr) value = {type, make_options(key, type, kinds)};
    Reader(tree, key, {"type"}).read(*value.options);
  }

  [[nodiscard]] std::string key(std::string_view name) const { return child_key(prefix_, name); }
  [[nodiscard]] std::string item_key(std::string_view name, std::size_t index) const {
    return key(name) + "[" + std::to_string(index) + "]";
  }

  const Json* find(std::string_view name) {
    known_.emplace_back(name);
    if (!tree_.is_object()) return nullptr;
    const auto at = tree_.find(known_.back());
    return at == tree_.end() ? nullptr : &*at;
  }

  void refuse_unknown() const {
    if (!tree_.is_object()) return;
    for (const auto& [name, value] : tree_.items()) {
      if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
      const std::string near = nearest(name, known_);
      throw ConfigError("unknown key '" + key(name) + "'; " +
                        (near.empty() ? "known: " + join(known_) : "did you mean '" + near + "'?"));
    }
  }

  const Json& tree_;
  std::string prefix_;
  std::vector<std::string> known_;
};

}  // namespace

void read_options(const Json& tree, Options& options, const std::string& prefix) { Reader(tree, prefix).read(options); }

}  // namespace decant::base
