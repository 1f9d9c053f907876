// At which name or address other hosts reach this one.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <memory>

#include "monitoring/exporter.h"

namespace decant::monitoring {
namespace {

const in_addr& v4_of(const sockaddr& address) { return reinterpret_cast<const sockaddr_in&>(address).sin_addr; }
const in6_addr& v6_of(const sockaddr& address) { return reinterpret_cast<const sockaddr_in6&>(address).sin6_addr; }

/// Neither loopback (Debian's installer gives a host's own name 127.0.1.1) nor link-local.
bool is_reachable(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    const std::uint32_t bits = ntohl(v4_of(address).s_addr);
    return bits >> 24 != 127 && bits >> 16 != 0xa9fe && bits != 0;
  }
  if (address.sa_family != AF_INET6) return false;
  const in6_addr& v6 = v6_of(address);
  return !IN6_IS_ADDR_LOOPBACK(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6) && !IN6_IS_ADDR_UNSPECIFIED(&v6);
}

bool resolves_reachably(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &found) != 0) return false;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next)
    if (!is_reachable(*at->ai_addr)) return false;
  return true;
}

/// "" when there is none of that family.
std::string interface_address(int family) {
  ifaddrs* found = nullptr;
  if (::getifaddrs(&found) != 0) return "";
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(found, ::freeifaddrs);
  for (const ifaddrs* at = found; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != family || (at->ifa_flags & IFF_UP) == 0) continue;
    if (!is_reachable(*at->ifa_addr)) continue;
    std::array<char, INET6_ADDRSTRLEN> text{};
    const void* bytes = family == AF_INET ? static_cast<const void*>(&v4_of(*at->ifa_addr)) : &v6_of(*at->ifa_addr);
    return ::inet_ntop(family, bytes, text.data(), text.size()) != nullptr ? text.data() : "";
  }
  return "";
}

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

}  // namespace

std::string reachable_host() {
  std::string name = host_name();
  if (resolves_reachably(name)) return name;
  for (const int family : {AF_INET, AF_INET6})
    if (std::string address = interface_address(family); !address.empty()) return address;
  return name;
}

std::string host_and_port(const std::string& host, int port) {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace decant::monitoring
