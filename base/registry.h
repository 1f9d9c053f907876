// A table of kinds: name -> options and factory. A new kind is one file and one row.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/options.h"

namespace decant::base {

/// Product: what is made; Args: what every factory of the table is given beside its own options.
template <class Product, class... Args>
class Registry : public KindSet {
 public:
  explicit Registry(std::string noun) : noun_(std::move(noun)) {}

  /// Adds a kind. Throws ConfigError when the name is taken.
  template <class OptionsType>
  void add(const std::string& name, std::function<std::shared_ptr<Product>(const OptionsType&, Args...)> factory) {
    Row row{[] { return std::make_unique<OptionsType>(); },
            [factory = std::move(factory)](const Options& options, Args... args) {
              return factory(dynamic_cast<const OptionsType&>(options), std::forward<Args>(args)...);
            }};
    if (!rows_.emplace(name, std::move(row)).second)
      throw ConfigError("two " + noun_ + " kinds are named '" + name + "'");
  }

  [[nodiscard]] std::string noun() const override { return noun_; }
  [[nodiscard]] std::vector<std::string> names() const override {
    std::vector<std::string> out;
    for (const auto& [name, row] : rows_) out.push_back(name);
    return out;
  }
  [[nodiscard]] std::unique_ptr<Options> options_of(const std::string& type) const override {
    return find(type).options();
  }
  [[nodiscard]] std::shared_ptr<Product> make(const KindOptions& kind, Args... args) const {
    return find(kind.type).make(*kind.options, std::forward<Args>(args)...);
  }

 private:
  struct Row {
    std::function<std::unique_ptr<Options>()> options;
    std::function<std::shared_ptr<Product>(const Options&, Args...)> make;
  };
  [[nodiscard]] const Row& find(const std::string& type) const {
    if (const auto at = rows_.find(type); at != rows_.end()) return at->second;
    const std::string near = nearest(type, names());
    throw ConfigError("unknown " + noun_ + " '" + type + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?") +
                      " (known: " + join(names()) + ")");
  }

  std::string noun_;
  std::map<std::string, Row> rows_;
};

}  // namespace decant::base
