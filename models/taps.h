// The taps that a model publishes, and those that are asked for.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/options.h"

namespace decant::models {

/// Throws ConfigError naming the first wanted tap that `model` does not publish.
inline void check_taps(const std::string& model, const std::set<std::string>& wanted,
                       const std::vector<std::string>& known) {
  const auto strange = std::find_if(wanted.begin(), wanted.end(), [&](const std::string& tap) {
    return std::find(known.begin(), known.end(), tap) == known.end();
  });
  if (strange != wanted.end())
    throw base::ConfigError(model + " has no tap '" + *strange + "' (known: " + base::join(known) + ")");
}

}  // namespace decant::models
