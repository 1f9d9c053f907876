#include "dist/socket.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "dist/errors.h"

namespace decant::dist {

namespace {

/// A host that is gone does not close its connections: what it does not acknowledge for so long ends them.
constexpr int kUnansweredMilliseconds = 8000;

std::string reason() { return std::strerror(errno); }

void set_option(const Descriptor& socket, int level, int option, int value) {
  ::setsockopt(socket.get(), level, option, &value, sizeof value);
}

void tune(const Descriptor& socket) {
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, kUnansweredMilliseconds);
}

bool bind_and_listen(const Descriptor& socket, const void* address, socklen_t size) {
  return ::bind(socket.get(), static_cast<const sockaddr*>(address), size) == 0 &&
         ::listen(socket.get(), SOMAXCONN) == 0;
}

}  // namespace

void Descriptor::close() {
  if (number_ >= 0) ::close(std::exchange(number_, -1));
}

Descriptor listen_anywhere() {
  constexpr int kType = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  if (Descriptor both(::socket(AF_INET6, kType, 0)); both.open()) {
    set_option(both, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_addr = in6addr_any;
    if (bind_and_listen(both, &any, sizeof any)) return both;
  }
  Descriptor old(::socket(AF_INET, kType, 0));
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_ANY);
  if (!old.open() || !bind_and_listen(old, &any, sizeof any)) throw CommError("nothing can listen here: " + reason());
  return old;
}

int port_of(const Descriptor& listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw CommError("getsockname: " + reason());
  // The port lies at the same place in both families' addresses.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

std::vector<std::string> own_addresses() {
  std::vector<std::string> old, fresh;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return {"127.0.0.1"};
  for (const ifaddrs* at = all; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr) continue;
    const int family = at->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    std::array<char, NI_MAXHOST> text{};
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    if (::getnameinfo(at->ifa_addr, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0) continue;
    const std::string address(text.data());
    if (address.starts_with("127.") || address == "::1" || address.starts_with("fe80")) continue;
    (family == AF_INET ? old : fresh).push_back(address);
  }
  ::freeifaddrs(all);
  old.insert(old.begin(), "127.0.0.1");
  old.insert(old.end(), fresh.begin(), fresh.end());
  return old;
}

Descriptor connect_to(const std::string& address, int port, std::chrono::milliseconds patience, std::string& why) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  const int failed = ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed != 0) {
    why = ::gai_strerror(failed);
    return {};
  }
  Descriptor socket(::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  int error = socket.open() ? 0 : errno;
  if (error == 0 && ::connect(socket.get(), found->ai_addr, found->ai_addrlen) != 0) error = errno;
  ::freeaddrinfo(found);
  if (error == EINPROGRESS) {
    pollfd ready{socket.get(), POLLOUT, 0};
    error = ETIMEDOUT;
    socklen_t size = sizeof error;
    if (::poll(&ready, 1, static_cast<int>(patience.count())) == 1)
      ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (error != 0) {
    why = std::strerror(error);
    return {};
  }
  tune(socket);
  return socket;
}

Descriptor accept_from(const Descriptor& listener) {
  Descriptor socket(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket.open()) tune(socket);
  return socket;
}

}  // namespace decant::dist
