#include "monitoring/pusher.h"

#include <httplib.h>
#include <pthread.h>

#include <charconv>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>
#include <utility>

#include "monitoring/base64.h"
#include "monitoring/exporter.h"

namespace decant::monitoring {
namespace {

constexpr int kDefaultPort = 9091;
constexpr std::string_view kScheme = "http://";
constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";
constexpr time_t kConnectSeconds = 2, kTransferSeconds = 2;

[[noreturn]] void refuse(const std::string& why) {
  throw base::ConfigError("monitoring.pushgateway: " + why + "; expected http://host:9091");
}

int port_of(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535)
    refuse("'" + std::string(text) + "' is no port");
  return port;
}

}  // namespace

Gateway parse_gateway(const std::string& url) {
  if (url.find('@') != std::string::npos)
    throw base::ConfigError(
        "monitoring.pushgateway: holds a user or a password; those go into monitoring.push_auth_file");
  if (!url.starts_with(kScheme)) refuse("'" + url + "' does not begin with http://");
  std::string_view rest = std::string_view(url).substr(kScheme.size());
  if (rest.find_first_of(" ?#") != std::string_view::npos) refuse("'" + url + "' is no address");
  Gateway out;
  const std::size_t slash = rest.find('/');
  if (slash != std::string_view::npos) {
    out.prefix = rest.substr(slash);
    while (out.prefix.ends_with('/')) out.prefix.pop_back();
    rest = rest.substr(0, slash);
  }
  const std::size_t bracket = rest.starts_with('[') ? rest.find(']') : std::string_view::npos;
  if (rest.starts_with('[') && bracket == std::string_view::npos) refuse("'" + url + "' has no closing bracket");
  const std::size_t colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
  out.host = bracket == std::string_view::npos ? rest.substr(0, colon) : rest.substr(1, bracket - 1);
  if (out.host.empty()) refuse("'" + url + "' names no host");
  out.port = colon == std::string_view::npos ? kDefaultPort : port_of(rest.substr(colon + 1));
  return out;
}

std::string PushGroup::path() const {
  std::string out = "/metrics";
  for (const auto& [label, value] : {std::pair("job", job), std::pair("instance", instance), std::pair("run", run)})
    out += "/" + std::string(label) + "@base64/" + (value.empty() ? "=" : base64_url(value));
  return out + "/rank/" + std::to_string(rank);
}

struct Pusher::State {
  State(Metrics& read, const Gateway& at, std::string to, std::chrono::duration<double> every,
        std::function<void(const std::string&)> tell)
      : gateway(at),
        client(at.host, at.port),
        path(std::move(to)),
        pause(every),
        metrics(&read),
        warn(std::move(tell)) {}

  const Gateway gateway;
  httplib::Client client;
  const std::string path;
  const std::chrono::duration<double> pause;
  std::mutex mutex;  // of what follows
  std::condition_variable changed;
  Metrics* metrics;  // null once the owner is gone
  std::function<void(const std::string&)> warn;
  bool stop = false, ended = false, warned = false;

  void run() {
    // Signals are for the job's own threads, and a gateway that hangs up must not end the job by SIGPIPE.
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::unique_lock lock(mutex);
    while (!stop) {
      if (changed.wait_for(lock, pause, [&] { return stop; })) break;
      push(lock);
    }
    push(lock);
    ended = true;
    changed.notify_all();
  }

 private:
  /// REQUIRES: the lock is held; it is not while the network is waited for.
  void push(std::unique_lock<std::mutex>& lock) {
    if (metrics == nullptr) return;
    const std::string text = metrics->text();
    lock.unlock();
    const auto answer = client.Put(path, text, kContentType);
    const std::string wrong = !answer                     ? "it could not be reached"
                              : answer->status / 100 != 2 ? "it answered " + std::to_string(answer->status)
                                                          : "";
    lock.lock();
    if (wrong.empty() || metrics == nullptr) return;
    metrics->add("decant_push_failures_total", 1);
    if (!std::exchange(warned, true))
      warn("metrics are not pushed to " + host_and_port(gateway.host, gateway.port) + ": " + wrong +
           "; the job goes on, and so do the attempts");
  }
};

Pusher::Pusher(Metrics& metrics, const MonitoringOptions& options, const PushGroup& group,
               const std::optional<Credentials>& credentials, std::function<void(const std::string&)> warn) {
  const Gateway gateway = parse_gateway(options.pushgateway);
  state_ = std::make_shared<State>(metrics, gateway, gateway.prefix + group.path(),
                                   std::chrono::duration<double>(options.push_seconds), std::move(warn));
  state_->client.set_connection_timeout(kConnectSeconds);
  state_->client.set_read_timeout(kTransferSeconds);
  state_->client.set_write_timeout(kTransferSeconds);
  if (credentials) state_->client.set_basic_auth(credentials->user, credentials->password);
  std::thread([state = state_] { state->run(); }).detach();
}

Pusher::~Pusher() {
  std::unique_lock lock(state_->mutex);
  state_->stop = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, std::chrono::seconds(kLastPushSeconds), [&] { return state_->ended; });
  state_->metrics = nullptr;
}

}  // namespace decant::monitoring
