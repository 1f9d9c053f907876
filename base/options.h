// Options: plain structs whose fields are declared once, in describe(); that one declaration parses job files,
// refuses unknown keys (naming the nearest known one), prints `decant config` and writes docs/config.md.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errors.h"

namespace decant::base {

/// Objects keep the order of their keys, so that files and hashes are stable.
using Json = nlohmann::ordered_json;

/// Inclusive bounds of a number.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

class Fields;

/// A group of fields. `describe` names every field with its range and help; the member's initialiser is the default.
struct Options {
  virtual ~Options() = default;
  virtual void describe(Fields& fields) = 0;
};

/// One entry of a registry as the job file sees it: which kind, and that kind's own options.
struct KindOptions {
  std::string type;
  std::unique_ptr<Options> options;
};

/// Named groups of one kind, kept in the order of the job file.
class NamedGroups {
 public:
  virtual ~NamedGroups() = default;
  virtual void clear() = 0;
  /// Appends a group with its defaults.
  virtual Options& add(const std::string& name) = 0;
  [[nodiscard]] virtual std::vector<std::pair<std::string, Options*>> entries() = 0;
  /// A group with its defaults that belongs to no map, to describe what an entry can say.
  [[nodiscard]] virtual std::unique_ptr<Options> make() const = 0;
};

/// `make`: for groups whose constructor takes arguments.
template <class Group>
class GroupMap : public NamedGroups {
 public:
  using Make = std::function<std::unique_ptr<Group>()>;
  explicit GroupMap(Make make = [] { return std::make_unique<Group>(); }) : make_(std::move(make)) {}
  void clear() override { groups_.clear(); }
  Group& add(const std::string& name) override { return *groups_.emplace_back(name, make_()).second; }
  [[nodiscard]] std::vector<std::pair<std::string, Options*>> entries() override {
    std::vector<std::pair<std::string, Options*>> out;
    for (auto& [name, group] : groups_) out.emplace_back(name, group.get());
    return out;
  }
  [[nodiscard]] std::unique_ptr<Options> make() const override { return make_(); }
  [[nodiscard]] bool empty() const { return groups_.empty(); }
  [[nodiscard]] std::size_t size() const { return groups_.size(); }
  /// Nothing when there is no group of that name.
  [[nodiscard]] const Group* find(std::string_view name) const {
    for (const auto& [known, group] : groups_)
      if (known == name) return group.get();
    return nullptr;
  }
  [[nodiscard]] auto begin() const { return groups_.begin(); }
  [[nodiscard]] auto end() const { return groups_.end(); }

 private:
  Make make_;
  std::vector<std::pair<std::string, std::unique_ptr<Group>>> groups_;
};

/// What a registry offers to options: the kinds by name, and fresh options for each.
class KindSet {
 public:
  virtual ~KindSet() = default;
  /// What one kind is called in messages: "loss", "model".
  [[nodiscard]] virtual std::string noun() const = 0;
  [[nodiscard]] virtual std::vector<std::string> names() const = 0;
  /// Throws ConfigError naming the known kinds when `type` is not one.
  [[nodiscard]] virtual std::unique_ptr<Options> options_of(const std::string& type) const = 0;
};

/// Visitor over the fields of an options struct. Implemented by the reader, the writer and the documenter.
class Fields {
 public:
  virtual ~Fields() = default;
  virtual void integer(std::string_view name, std::int64_t& value, Range range, std::string_view help) = 0;
  virtual void real(std::string_view name, double& value, Range range, std::string_view help) = 0;
  virtual void flag(std::string_view name, bool& value, std::string_view help) = 0;
  /// `choices` empty: any text.
  virtual void text(std::string_view name, std::string& value, std::string_view help,
                    const std::vector<std::string>& choices = {}) = 0;
  virtual void texts(std::string_view name, std::vector<std::string>& value, std::string_view help) = 0;
  virtual void reals(std::string_view name, std::vector<double>& value, Range range, std::string_view help) = 0;
  virtual void group(std::string_view name, Options& value, std::string_view help) = 0;
  /// `name: {type: adamw, lr: 0.001}`: one of a registry's kinds; a missing `type` is `value.type`.
  virtual void kind(std::string_view name, KindOptions& value, const KindSet& kinds, std::string_view help) = 0;
  /// `name: {ce: {weight: 1}, again: {type: ce}}`: a named map; an entry's `type` defaults to its key. A map in the
  /// job file replaces the default map as a whole.
  virtual void kinds(std::string_view name, std::map<std::string, KindOptions>& value, const KindSet& kinds,
                     std::string_view help) = 0;
  /// `name: {hints: {...}, logits: {...}}`: named groups in the order in which they are written. A map in the job file
  /// replaces the default map as a whole.
  virtual void groups(std::string_view name, NamedGroups& value, std::string_view help) = 0;
  /// Says that the text `name` chose one of `kinds`, whose options stand in this group too; for documentation.
  virtual void alternatives(std::string_view /*name*/, const std::string& /*chosen*/, const KindSet& /*kinds*/) {}
};

/// Fills `options` from `tree`; keys that are absent keep their defaults. Throws ConfigError with the full key
/// (`losses.kl_tail.temperature`) for an unknown key, a wrong type, a value out of range or an unknown choice.
void read_options(const Json& tree, Options& options, const std::string& prefix = "");

/// The resolved tree: every field with its value, in declaration order.
[[nodiscard]] Json write_options(Options& options);

/// Markdown tables of every field (key, type, default, range, help), groups and the kinds of each registry included.
[[nodiscard]] std::string document_options(Options& options);

/// Sets `key` ("a.b.c") in `tree` to `value`, making objects on the way. Throws ConfigError when a step is no object.
void set_key(Json& tree, const std::string& key, Json value);

/// The member of `known` nearest to `word` by edit distance, or "" when none is near.
[[nodiscard]] std::string nearest(std::string_view word, const std::vector<std::string>& known);

/// "a, b, c".
[[nodiscard]] std::string join(const std::vector<std::string>& words, std::string_view separator = ", ");

}  // namespace decant::base
