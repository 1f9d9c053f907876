// What tests over the whole registry of losses share.
#pragma once

#include <map>
#include <string>

#include "trainer/job.h"
#include "trainer/task.h"

namespace decant::golden {

/// Options under which a kind fits a small catalogue with labels of 4 items; kinds that are not named keep their own.
inline base::Json small_options(const std::string& type) {
  static const std::map<std::string, base::Json> small{{"rrd", {{"interesting", 3}, {"uninteresting", 1000}}},
                                                       {"rd", {{"depth", 3}, {"drawn", 1000}}},
                                                       {"crd", {{"negatives", 1000}, {"width", 5}}},
                                                       {"info_nce", {{"temperature", 0.5}}}};
  const auto at = small.find(type);
  return at == small.end() ? base::Json::object() : at->second;
}

inline trainer::NamedLoss make_loss(const std::string& type, const base::Json& options = base::Json::object(),
                                    const std::string& name = "") {
  static const auto registries = trainer::default_registries();
  base::KindOptions kind{type, registries.losses.options_of(type)};
  base::read_options(options, *kind.options);
  return trainer::name_loss(name.empty() ? type : name, *kind.options, registries.losses.make(kind));
}

}  // namespace decant::golden
