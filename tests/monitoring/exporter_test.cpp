#include "monitoring/exporter.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <string>

namespace decant::monitoring {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

int connect_to(int port) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) return descriptor;
  ::close(descriptor);
  return -1;
}

/// `more`: further header lines.
std::string fetch(int port, const std::string& more = "") {
  const int descriptor = connect_to(port);
  if (descriptor < 0) return "";
  const std::string request = "GET /metrics HTTP/1.0\r\nHost: localhost\r\n" + more + "\r\n";
  std::string out;
  if (::send(descriptor, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size())) {
    std::array<char, 4096> block{};
    for (ssize_t got = 0; (got = ::recv(descriptor, block.data(), block.size(), 0)) > 0;)
      out.append(block.data(), static_cast<std::size_t>(got));
  }
  ::close(descriptor);
  return out;
}

/// Holds a loopback port of the kernel's choice, as another job would.
class TakenPort {
 public:
  TakenPort() : descriptor_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (::bind(descriptor_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 || ::listen(descriptor_, 1) != 0 ||
        ::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
      throw std::runtime_error("no port to take");
    port_ = ntohs(at.sin_port);
  }
  ~TakenPort() { ::close(descriptor_); }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  [[nodiscard]] int port() const { return port_; }

 private:
  int descriptor_, port_ = 0;
};

TEST(Exporter, ServesTheTextOverHttp) {
  Metrics metrics("r", 0);
  metrics.set("decant_step", 12);
  MonitoringOptions options;
  options.port = 29470;
  const Exporter exporter(metrics, options, 0);
  ASSERT_NE(exporter.port(), 0) << exporter.note();
  EXPECT_EQ(exporter.address(), "127.0.0.1:" + std::to_string(exporter.port()));
  const std::string page = fetch(exporter.port());
  EXPECT_TRUE(has(page, "200 OK")) << page;
  EXPECT_TRUE(has(page, R"(decant_step{rank="0",run="r",stage="start"} 12)")) << page;
}

TEST(Exporter, TakenPortMovesToTheNextAndSaysSo) {
  const TakenPort taken;
  Metrics metrics("r", 1);
  MonitoringOptions options;
  options.port = taken.port() - 1;  // rank 1 wants the taken one
  const Exporter exporter(metrics, options, 1);
  EXPECT_GT(exporter.port(), taken.port());
  EXPECT_TRUE(has(exporter.note(), "port " + std::to_string(taken.port()) + " is taken")) << exporter.note();
  EXPECT_TRUE(has(exporter.note(), exporter.address()));
}

TEST(Exporter, ForeignAddressIsSaidNotThrown) {
  Metrics metrics("r", 0);
  MonitoringOptions options;
  options.address = "192.0.2.1";  // RFC 5737: nobody's
  const Exporter exporter(metrics, options, 0);
  EXPECT_EQ(exporter.port(), 0);
  EXPECT_EQ(exporter.address(), "");
  EXPECT_TRUE(has(exporter.note(), "192.0.2.1:9470")) << exporter.note();
  options.address = "no address";
  EXPECT_EQ(Exporter(metrics, options, 0).port(), 0);
}

TEST(Exporter, StopsAtTheLastPort) {
  Metrics metrics("r", 0);
  MonitoringOptions options;
  options.port = 65535;
  const Exporter exporter(metrics, options, 1);
  EXPECT_EQ(exporter.port(), 0);
  EXPECT_TRUE(has(exporter.note(), "65536")) << exporter.note();
}

TEST(Exporter, LetsItsPortGo) {
  Metrics metrics("r", 0);
  MonitoringOptions options;
  options.port = 29670;
  const int first = Exporter(metrics, options, 0).port();
  EXPECT_EQ(connect_to(first), -1);
  EXPECT_EQ(Exporter(metrics, options, 0).port(), first);
}

TEST(Exporter, AsksForCredentials) {
  Metrics metrics("r", 0);
  metrics.set("decant_step", 12);
  MonitoringOptions options;
  options.port = 29870;
  const Exporter exporter(metrics, options, 0, Credentials{"reader", "a:b c"});
  ASSERT_NE(exporter.port(), 0) << exporter.note();
  const auto status = [&](const std::string& header) { return fetch(exporter.port(), header).substr(9, 3); };
  const std::string refused = fetch(exporter.port());
  EXPECT_TRUE(has(refused, "401")) << refused;
  EXPECT_TRUE(has(refused, "WWW-Authenticate: Basic")) << refused;
  EXPECT_FALSE(has(refused, "decant_step")) << refused;
  EXPECT_EQ(status("Authorization: Basic cmVhZGVyOmE6YiBj\r\n"), "200");  // printf %s 'reader:a:b c' | base64
  EXPECT_EQ(status("authorization: basic cmVhZGVyOmE6YiBj\r\n"), "200");
  EXPECT_EQ(status("Authorization: Basic cmVhZGVyOmE6YiBk\r\n"), "401");
  EXPECT_EQ(status("Authorization: Basic \r\n"), "401");
  EXPECT_EQ(status("Authorization: Bearer cmVhZGVyOmE6YiBj\r\n"), "401");
}

TEST(Exporter, OfAllAddressesOneIsToldThatOthersReach) {
  Metrics metrics("r", 0);
  MonitoringOptions options;
  options.address = "0.0.0.0";
  options.port = 30070;
  const Exporter exporter(metrics, options, 0);
  EXPECT_EQ(exporter.address(), host_and_port(reachable_host(), exporter.port()));
  EXPECT_FALSE(has(exporter.address(), "0.0.0.0")) << exporter.address();
  EXPECT_TRUE(has(fetch(exporter.port()), "200 OK"));
  EXPECT_EQ(host_and_port("2001:db8::1", 80), "[2001:db8::1]:80");
}

TEST(Discovery, ListsWhatIsServed) {
  EXPECT_EQ(discovery_targets("beauty", {"127.0.0.1:9470", "", "node2:9471"}).dump(),
            R"([{"targets":["127.0.0.1:9470","node2:9471"],"labels":{"job":"decant","run":"beauty"}}])");
  EXPECT_EQ(discovery_targets("beauty", {"", ""}).dump(), "[]");
}

}  // namespace
}  // namespace decant::monitoring
