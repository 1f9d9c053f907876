#include "base/hash.h"

#include <xxhash.h>

#include <array>
#include <new>

namespace decant::base {

struct Hasher::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() {
    if (xxh == nullptr) throw std::bad_alloc();
    XXH3_64bits_reset(xxh);
  }
  ~State() { XXH3_freeState(xxh); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Hasher::Hasher() : state_(std::make_unique<State>()) {}
Hasher::~Hasher() = default;

void Hasher::add(std::span<const std::byte> bytes) { XXH3_64bits_update(state_->xxh, bytes.data(), bytes.size()); }

void Hasher::add(std::string_view text) {
  // Byte by byte, so that the hash is the same on every byte order.
  std::array<std::byte, 8> length{};
  for (std::size_t i = 0; i < length.size(); ++i) length[i] = static_cast<std::byte>(text.size() >> (8 * i));
  add(std::span<const std::byte>(length));
  add(std::as_bytes(std::span(text)));
}

std::uint64_t Hasher::value() const { return XXH3_64bits_digest(state_->xxh); }
std::string Hasher::hex() const { return to_hex(value()); }

std::string hash_hex(std::span<const std::byte> bytes) { return to_hex(XXH3_64bits(bytes.data(), bytes.size())); }
std::string hash_hex(std::string_view text) { return hash_hex(std::as_bytes(std::span(text))); }

std::string to_hex(std::uint64_t value) {
  std::string out(16, '0');
  for (std::size_t i = 0; i < out.size(); ++i) out[15 - i] = "0123456789abcdef"[(value >> (4 * i)) & 15];
  return out;
}

}  // namespace decant::base
