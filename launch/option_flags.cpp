#include "launch/option_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <stdexcept>
#include <utility>

#include "launch/job_file.h"

namespace decant::launch {

namespace {

class FlagAdder final : public base::Fields {
 public:
  FlagAdder(CLI::App& app, base::Json& given, const std::vector<std::string>& skipped)
      : app_(app), given_(given), skipped_(skipped) {}

  void integer(std::string_view name, std::int64_t& value, base::Range, std::string_view help) override {
    add(name, "INTEGER", std::to_string(value), help, &parse_value);
  }
  void real(std::string_view name, double& value, base::Range, std::string_view help) override {
    add(name, "NUMBER", base::Json(value).dump(), help, &parse_value);
  }
  void flag(std::string_view name, bool& value, std::string_view help) override {
    add(name, "true|false", value ? "true" : "false", help, &parse_value);
  }
  void text(std::string_view name, std::string& value, std::string_view help,
            const std::vector<std::string>& choices) override {
    // Text is not typed: a user named 1e3 stays "1e3".
    const auto as_it_is = [](const std::string& text) { return base::Json(text); };
    add(name, choices.empty() ? "TEXT" : base::join(choices, "|"), value, help, as_it_is);
  }
  void texts(std::string_view name, std::vector<std::string>& value, std::string_view help) override {
    add(name, "[TEXT,...]", base::Json(value).dump(), help, &parse_value);
  }
  void reals(std::string_view name, std::vector<double>&, base::Range, std::string_view) override { refuse(name); }
  /// Flags of a group have no prefix; what is given lies in its map.
  void group(std::string_view name, base::Options& value, std::string_view) override {
    if (skips(std::string(name))) return;
    const std::string outer = std::exchange(group_, group_ + "/" + std::string(name));
    value.describe(*this);
    group_ = outer;
  }
  void kind(std::string_view name, base::KindOptions&, const base::KindSet&, std::string_view) override {
    refuse(name);
  }
  void kinds(std::string_view name, std::map<std::string, base::KindOptions>&, const base::KindSet&,
             std::string_view) override {
    refuse(name);
  }
  void groups(std::string_view name, base::NamedGroups&, std::string_view help) override {
    add(name, "{NAME: {...}}", "{}", help, &parse_value);
  }

 private:
  [[nodiscard]] bool skips(const std::string& name) const {
    return std::find(skipped_.begin(), skipped_.end(), name) != skipped_.end();
  }

  void refuse(std::string_view name) const {
    if (!skips(std::string(name))) throw std::logic_error("option '" + std::string(name) + "' has no form as a flag");
  }

  template <class Parse>
  void add(std::string_view name, const std::string& type, const std::string& value, std::string_view help,
           Parse parse) {
    const std::string key(name);
    if (skips(key)) return;
    std::string dashed = "--" + key;
    std::replace(dashed.begin(), dashed.end(), '_', '-');
    app_.add_option_function<std::string>(
            dashed,
            [&given = given_, place = base::Json::json_pointer(group_ + "/" + key), dashed,
             parse](const std::string& text) {
              try {
                given[place] = parse(text);
              } catch (const base::ConfigError& error) {
                throw base::ConfigError(dashed + ": " + error.what());
              }
            },
            std::string(help))
        ->type_name(type)
        ->default_str(value);
  }

  CLI::App& app_;
  base::Json& given_;
  const std::vector<std::string>& skipped_;
  std::string group_;  // JSON pointer of the group whose fields are declared
};

}  // namespace

void add_option_flags(CLI::App& app, base::Options& options, base::Json& given,
                      const std::vector<std::string>& skipped) {
  FlagAdder adder(app, given, skipped);
  options.describe(adder);
}

}  // namespace decant::launch
