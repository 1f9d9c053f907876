#include "trainer/frozen.h"

#include <algorithm>
#include <set>

#include "base/options.h"

namespace decant::trainer {
namespace {

/// The names, and every group of them as a pattern: "blocks.*", "blocks.0.*".
std::vector<std::string> with_groups(const std::vector<std::string>& names) {
  std::set<std::string> out(names.begin(), names.end());
  for (const auto& name : names)
    for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      out.insert(name.substr(0, dot) + ".*");
  return {out.begin(), out.end()};
}

bool any_fits(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const auto& pattern) { return fits(name, pattern); });
}

}  // namespace

bool fits(std::string_view name, std::string_view pattern) {
  // On a mismatch the last '*' takes one letter more.
  std::size_t n = 0, p = 0, star = std::string_view::npos, taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

void check_frozen_patterns(const std::vector<std::string>& patterns, const std::vector<std::string>& names,
                           const std::string& key) {
  for (const auto& pattern : patterns) {
    if (std::any_of(names.begin(), names.end(), [&](const auto& name) { return fits(name, pattern); })) continue;
    const std::string near = base::nearest(pattern, with_groups(names));
    throw base::ConfigError("'" + key + "': no parameter is named '" + pattern + "'" +
                            (near.empty() ? " (known: " + base::join(names) + ")" : "; did you mean '" + near + "'?"));
  }
  if (!names.empty() && std::all_of(names.begin(), names.end(), [&](const auto& n) { return any_fits(n, patterns); }))
    throw base::ConfigError("'" + key + "' freezes every parameter, so there is nothing to train");
}

Frozen::Frozen(const models::NamedTensors& parameters, const std::vector<std::string>& patterns) {
  for (auto [name, tensor] : parameters) {
    if (!tensor.requires_grad() || !any_fits(name, patterns)) continue;
    tensor.set_requires_grad(false);
    tensor.mutable_grad() = torch::Tensor();
    tensors_.push_back(tensor);
  }
}

Frozen::~Frozen() {
  for (auto& tensor : tensors_) tensor.set_requires_grad(true);
}

models::NamedTensors trainable(const models::NamedTensors& parameters) {
  models::NamedTensors out;
  for (const auto& named : parameters)
    if (named.second.requires_grad()) out.push_back(named);
  return out;
}

}  // namespace decant::trainer
