// Sizes as people write them.
#pragma once

#include <cstddef>
#include <string>

namespace decant::data {

/// "2GiB", "512 MiB", "1.5GB", "1000000": bytes, or with a unit of 1,024 (KiB, MiB, GiB, TiB) or 1,000 (KB, MB, GB, TB).
/// Throws ConfigError naming `key` for anything else.
[[nodiscard]] std::size_t byte_size(const std::string& text, const std::string& key);

}  // namespace decant::data
