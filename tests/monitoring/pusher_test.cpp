#include "monitoring/pusher.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/errors.h"

namespace decant::monitoring {
namespace {

using namespace std::chrono_literals;

/// Keeps what is put, and answers what it is told to.
class FakeGateway {
 public:
  explicit FakeGateway(int status = 200) {
    server_.Put(".*", [this, status](const httplib::Request& request, httplib::Response& response) {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      response.status = status;
      changed_.notify_all();
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~FakeGateway() {
    server_.stop();
    thread_.join();
  }
  FakeGateway(const FakeGateway&) = delete;
  FakeGateway& operator=(const FakeGateway&) = delete;
  std::vector<httplib::Request> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 20s, [&] { return requests_.size() >= count; });
    return requests_;
  }
  [[nodiscard]] MonitoringOptions options() const {
    MonitoringOptions out;
    out.pushgateway = "http://127.0.0.1:" + std::to_string(port_) + "/behind/";
    out.push_seconds = 3600;
    return out;
  }

 private:
  httplib::Server server_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<httplib::Request> requests_;
  int port_ = 0;
};

/// Of a pusher that lives until it has warned, or for no time at all.
struct Warnings {
  std::mutex mutex;
  std::vector<std::string> said;
  void operator()(const std::string& text) {
    const std::lock_guard lock(mutex);
    said.push_back(text);
  }
};

const PushGroup kGroup{"decant", "node1:/runs/a b", "a b", 3};

TEST(Pusher, PushesAtTheEndIntoTheGroupOfItsRank) {
  FakeGateway gateway;
  Metrics metrics("a b", 3);
  metrics.set_stage("teacher");
  metrics.set("decant_step", 7);
  Warnings warnings;
  { const Pusher pusher(metrics, gateway.options(), kGroup, {}, std::ref(warnings)); }
  const auto requests = gateway.wait_for(1);
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].path,
            "/behind/metrics/job@base64/ZGVjYW50/instance@base64/bm9kZTE6L3J1bnMvYSBi/run@base64/YSBi/rank/3");
  EXPECT_EQ(requests[0].body, metrics.text());
  EXPECT_NE(requests[0].body.find(R"(decant_step{rank="3",run="a b",stage="teacher"} 7)"), std::string::npos);
  EXPECT_EQ(requests[0].get_header_value("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_FALSE(requests[0].has_header("Authorization"));
  EXPECT_TRUE(warnings.said.empty());
}

TEST(Pusher, PushesOnAnIntervalWithCredentials) {
  FakeGateway gateway;
  Metrics metrics("r", 0);
  metrics.set("decant_step", 1);
  MonitoringOptions options = gateway.options();
  options.push_seconds = 0.02;
  const Pusher pusher(metrics, options, {"j", "i", "", 0}, Credentials{"Aladdin", "open sesame"}, [](const auto&) {});
  const auto requests = gateway.wait_for(3);
  ASSERT_GE(requests.size(), 3U);
  EXPECT_EQ(requests[0].get_header_value("Authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  EXPECT_NE(requests[0].path.find("/run@base64/=/rank/0"), std::string::npos) << requests[0].path;
}

TEST(Pusher, CountsEveryFailureAndTellsOne) {
  FakeGateway gateway(400);
  Metrics metrics("r", 0);
  MonitoringOptions options = gateway.options();
  options.push_seconds = 0.02;
  Warnings warnings;
  {
    const Pusher pusher(metrics, options, kGroup, {}, std::ref(warnings));
    ASSERT_GE(gateway.wait_for(3).size(), 3U);
  }
  ASSERT_EQ(warnings.said.size(), 1U);
  EXPECT_NE(warnings.said[0].find("metrics are not pushed to 127.0.0.1:"), std::string::npos) << warnings.said[0];
  EXPECT_NE(warnings.said[0].find("it answered 400"), std::string::npos) << warnings.said[0];
  const auto pushes = gateway.wait_for(0).size();
  const std::string counted = R"(decant_push_failures_total{rank="0",run="r",stage="start"} )" + std::to_string(pushes);
  EXPECT_NE(metrics.text().find(counted), std::string::npos) << metrics.text() << counted;
}

TEST(Pusher, DoesNotWaitForAGatewayThatIsNotThere) {
  Metrics metrics("r", 0);
  MonitoringOptions options;
  options.pushgateway = "http://127.0.0.1:1";
  Warnings warnings;
  const auto began = std::chrono::steady_clock::now();
  { const Pusher pusher(metrics, options, kGroup, {}, std::ref(warnings)); }
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
  ASSERT_EQ(warnings.said.size(), 1U);
  EXPECT_NE(warnings.said[0].find("could not be reached"), std::string::npos) << warnings.said[0];
}

TEST(Pusher, GivesUpOneThatDoesNotAnswer) {
  Metrics metrics("r", 0);
  httplib::Server silent;  // listens, and nobody takes what comes
  const int port = silent.bind_to_any_port("127.0.0.1");
  MonitoringOptions options;
  options.pushgateway = "http://127.0.0.1:" + std::to_string(port);
  const auto began = std::chrono::steady_clock::now();
  {
    const Pusher pusher(metrics, options, kGroup, {}, [](const auto&) {});
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(Pusher::kLastPushSeconds + 1));
}

TEST(Gateway, IsReadFromItsAddress) {
  EXPECT_EQ(parse_gateway("http://push.example:9999/a/").host, "push.example");
  EXPECT_EQ(parse_gateway("http://push.example:9999/a/").port, 9999);
  EXPECT_EQ(parse_gateway("http://push.example:9999/a/").prefix, "/a");
  EXPECT_EQ(parse_gateway("http://push.example").port, 9091);
  EXPECT_EQ(parse_gateway("http://[::1]:80").host, "::1");
  EXPECT_EQ(parse_gateway("http://[::1]:80").port, 80);
  for (const char* const wrong : {"push:9091", "https://push:9091", "http://", "http://:9091", "http://push:0",
                                  "http://push:x", "http://push:99999", "http://[::1", "http://a b"})
    EXPECT_THROW(static_cast<void>(parse_gateway(wrong)), base::ConfigError) << wrong;
  try {
    static_cast<void>(parse_gateway("http://user:secret@push"));
    FAIL();
  } catch (const base::ConfigError& error) {
    EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace decant::monitoring
