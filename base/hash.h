// 64-bit xxh3 hashes of bytes and of option trees. Not cryptographic: they find change and damage, not malice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace decant::base {

/// Incremental xxh3-64.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  void add(std::span<const std::byte> bytes);
  /// Adds the length too, so that ("ab","c") and ("a","bc") differ.
  void add(std::string_view text);
  [[nodiscard]] std::uint64_t value() const;
  /// 16 lower-case hexadecimal digits.
  [[nodiscard]] std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::string hash_hex(std::span<const std::byte> bytes);
[[nodiscard]] std::string hash_hex(std::string_view text);
[[nodiscard]] std::string to_hex(std::uint64_t value);

}  // namespace decant::base
