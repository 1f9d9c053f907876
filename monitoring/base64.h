// RFC 4648.
#pragma once

#include <string>
#include <string_view>

namespace decant::monitoring {

/// With `+`, `/` and padding.
[[nodiscard]] std::string base64(std::string_view bytes);

/// With `-`, `_` and padding: for a place in a URL.
[[nodiscard]] std::string base64_url(std::string_view bytes);

}  // namespace decant::monitoring
