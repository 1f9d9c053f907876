// Job files: YAML, typed as JSON, with the place of every key kept, so that an error can say where it was written.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "base/options.h"

namespace decant::launch {

/// One YAML value on one line: a scalar ("3", "1e-3", "true", "null", "'3'"), or a flow list or map ("[1, 2]").
/// YAML 1.2's core types; quoted text stays text. Throws ConfigError.
[[nodiscard]] base::Json parse_value(const std::string& text);

/// Puts one "key=value" of --set into `tree`; returns the key. Throws ConfigError.
std::string set_value(base::Json& tree, const std::string& assignment);

class JobFile {
 public:
  /// Throws ConfigError with file, line and column: no such file, no YAML, a key twice, no map at the top.
  [[nodiscard]] static JobFile load(const std::filesystem::path& path);
  /// `name` stands for the file in messages.
  [[nodiscard]] static JobFile parse(const std::string& text, const std::string& name);

  /// Applies one "key=value" of --set over what is there.
  void set(const std::string& assignment);

  /// Checks `version`, fills `options`, then calls `check`, for what no single option can know. A ConfigError is told
  /// with the place where the option was written.
  void read_into(base::Options& options, const std::function<void()>& check = {}) const;

  [[nodiscard]] const base::Json& tree() const { return tree_; }

 private:
  void check_version() const;
  /// "job.yaml:3:5" or "--set a.b=1" of the first key that `message` names, else the file's name.
  [[nodiscard]] std::string origin_of(const std::string& message) const;

  std::string name_;
  base::Json tree_ = base::Json::object();
  std::map<std::string, std::string> origins_;  // full key -> where it was written
};

}  // namespace decant::launch
