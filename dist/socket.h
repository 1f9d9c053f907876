// TCP as the control plane uses it: non-blocking, closed with its owner. Internal to dist.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace decant::dist {

/// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      close();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return number_; }
  [[nodiscard]] bool open() const { return number_ >= 0; }
  void close();

 private:
  int number_ = -1;
};

/// Listens at a free port of all addresses. Throws CommError.
[[nodiscard]] Descriptor listen_anywhere();
[[nodiscard]] int port_of(const Descriptor& listener);
/// Addresses of this host in numbers, those of IPv4 first, "127.0.0.1" before all: who shares the host needs no network.
[[nodiscard]] std::vector<std::string> own_addresses();
/// A connection, or a closed descriptor and the reason in `why`.
[[nodiscard]] Descriptor connect_to(const std::string& address, int port, std::chrono::milliseconds patience,
                                    std::string& why);
/// Who asked to connect; closed when nobody did.
[[nodiscard]] Descriptor accept_from(const Descriptor& listener);

}  // namespace decant::dist
