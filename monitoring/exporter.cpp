// The endpoint itself is cpp-httplib's: prometheus-cpp's own server starts its threads on stacks of 100 KiB, and glibc
// refuses those (EINVAL) in a process whose libraries, like LibTorch, hold more thread-local storage than that.
#include <httplib.h>
#include <sys/socket.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "monitoring/exporter.h"

namespace decant::monitoring {
namespace {

constexpr int kPortTries = 100;
constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

/// A port in TIME_WAIT is free, one that another process listens on is not (the library's default would share it).
void reuse_address_only(socket_t socket) {
  const int yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

/// Answers 401 to every request, whatever its path, that does not carry this Authorization header (RFC 7617).
void ask_for(httplib::Server& server, std::string authorization) {
  server.set_pre_routing_handler(
      [expected = std::move(authorization)](const httplib::Request& request, httplib::Response& response) {
        if (authorizes(request.get_header_value("Authorization"), expected))
          return httplib::Server::HandlerResponse::Unhandled;
        response.status = 401;
        response.set_header("WWW-Authenticate", "Basic realm=\"decant\", charset=\"UTF-8\"");
        response.set_content("the metrics ask for a user and a password\n", "text/plain");
        return httplib::Server::HandlerResponse::Handled;
      });
}

}  // namespace

struct Exporter::Impl {
  httplib::Server server;
  std::thread thread;
  std::string address, note;
  int port = 0;
};

Exporter::Exporter(Metrics& metrics, const MonitoringOptions& options, int rank,
                   const std::optional<Credentials>& credentials)
    : impl_(std::make_unique<Impl>()) {
  auto& server = impl_->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(1); };  // owned by the server
  server.set_socket_options(reuse_address_only);
  server.Get("/metrics", [&metrics](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics.text(), kContentType);
  });
  if (credentials) ask_for(server, basic_authorization(*credentials));
  const int first = static_cast<int>(options.port) + rank;
  const int last = std::min(first + kPortTries - 1, 65535);
  int number = first;
  while (number <= last && !server.bind_to_port(options.address, number)) ++number;
  if (number > last) {
    impl_->note = "metrics are not served: nothing can listen at " + host_and_port(options.address, first) +
                  " or on the " + std::to_string(kPortTries - 1) + " ports after it";
    return;
  }
  impl_->port = number;
  impl_->thread = std::thread([&server] { server.listen_after_bind(); });
  const bool everywhere = options.address == "0.0.0.0" || options.address == "::";
  impl_->address = host_and_port(everywhere ? reachable_host() : options.address, number);
  if (number != first)
    impl_->note = "port " + std::to_string(first) + " is taken, metrics are served at " + impl_->address;
}

Exporter::~Exporter() {
  if (!impl_->thread.joinable()) return;
  while (!impl_->server.is_running()) std::this_thread::yield();  // stop() before it runs would be lost
  impl_->server.stop();
  impl_->thread.join();
}

int Exporter::port() const { return impl_->port; }
std::string Exporter::address() const { return impl_->address; }
const std::string& Exporter::note() const { return impl_->note; }

base::Json discovery_targets(const std::string& run, const std::vector<std::string>& addresses) {
  base::Json targets = base::Json::array();
  for (const std::string& address : addresses)
    if (!address.empty()) targets.push_back(address);
  if (targets.empty()) return base::Json::array();
  base::Json group = base::Json::object();
  group["targets"] = std::move(targets);
  group["labels"] = {{"job", "decant"}, {"run", run}};
  return base::Json::array({std::move(group)});
}

}  // namespace decant::monitoring
