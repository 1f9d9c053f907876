#include "data/byte_size.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/errors.h"

namespace decant::data {

std::size_t byte_size(const std::string& text, const std::string& key) {
  constexpr std::array<std::pair<std::string_view, double>, 10> kUnits{{{"", 1},
                                                                        {"B", 1},
                                                                        {"KiB", 0x1p10},
                                                                        {"MiB", 0x1p20},
                                                                        {"GiB", 0x1p30},
                                                                        {"TiB", 0x1p40},
                                                                        {"KB", 1e3},
                                                                        {"MB", 1e6},
                                                                        {"GB", 1e9},
                                                                        {"TB", 1e12}}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  unit.remove_prefix(std::min(unit.find_first_not_of(' '), unit.size()));
  const auto at = std::find_if(kUnits.begin(), kUnits.end(), [&](const auto& known) { return known.first == unit; });
  const double bytes = at == kUnits.end() ? -1 : number * at->second;
  if (error != std::errc() || !(bytes >= 0 && bytes < 0x1p62))
    throw base::ConfigError("'" + key + "' is '" + text +
                            "', expected a size such as 2GiB, 500MB or a number of bytes");
  return static_cast<std::size_t>(bytes);
}

}  // namespace decant::data
