#include "base/options.h"

namespace decant::base {

namespace {

class Writer final : public Fields {
 public:
  explicit Writer(Json& tree) : tree_(tree) {}

  void integer(std::string_view name, std::int64_t& value, Range, std::string_view) override { set(name, value); }
  void real(std::string_view name, double& value, Range, std::string_view) override { set(name, value); }
  void flag(std::string_view name, bool& value, std::string_view) override { set(name, value); }
  void text(std::string_view name, std::string& value, std::string_view, const std::vector<std::string>&) override {
    set(name, value);
  }
  void texts(std::string_view name, std::vector<std::string>& value, std::string_view) override { set(name, value); }
  void reals(std::string_view name, std::vector<double>& value, Range, std::string_view) override { set(name, value); }
  void group(std::string_view name, Options& value, std::string_view) override { set(name, write_options(value)); }

  void kind(std::string_view name, KindOptions& value, const KindSet& kinds, std::string_view) override {
    if (!value.type.empty()) set(name, write_kind(value, value.type, kinds));
  }

  void kinds(std::string_view name, std::map<std::string, KindOptions>& value, const KindSet& kinds,
             std::string_view) override {
    Json entries = Json::object();
    for (auto& [entry, options] : value)
      entries[entry] = write_kind(options, options.type.empty() ? entry : options.type, kinds);
    set(name, std::move(entries));
  }

  void groups(std::string_view name, NamedGroups& value, std::string_view) override {
    Json entries = Json::object();
    for (const auto& [entry, group] : value.entries()) entries[entry] = write_options(*group);
    set(name, std::move(entries));
  }

 private:
  void set(std::string_view name, Json value) { tree_[std::string(name)] = std::move(value); }

  static Json write_kind(KindOptions& value, const std::string& type, const KindSet& kinds) {
    Json out = Json::object();
    out["type"] = type;
    // Defaults that nobody has read yet have no options; they are printed all the same.
    const std::unique_ptr<Options> made = value.options == nullptr ? kinds.options_of(type) : nullptr;
    Writer writer(out);
    (made == nullptr ? *value.options : *made).describe(writer);
    return out;
  }

  Json& tree_;
};

}  // namespace

Json write_options(Options& options) {
  Json tree = Json::object();
  Writer writer(tree);
  options.describe(writer);
  return tree;
}

}  // namespace decant::base
