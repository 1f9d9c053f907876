#include "dist/control_plane.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <sstream>
#include <type_traits>
#include <utility>

#include "dist/errors.h"
#include "dist/socket.h"

namespace decant::dist {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// What lies before every message on the wire. Ranks run the same binary, so bytes are taken as they are.
struct Frame {
  std::uint32_t magic = 0x64636e74, text_bytes = 0;
  ControlHeader header;
};
static_assert(std::is_trivially_copyable_v<Frame>);

constexpr std::uint32_t kMostText = 1 << 16;
constexpr std::size_t kMostPending = 1 << 18;  // beyond it a peer has not read for long: beats are left out

}  // namespace

struct ControlPlane::Connection {
  Descriptor socket;
  int rank = -1;  // -1: has not said who it is
  std::string in, out;
  bool broken = false;
};

struct ControlPlane::Sockets {
  Descriptor listener, alarm{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  std::vector<std::unique_ptr<Connection>> connections;
  std::vector<Connection*> by_rank;  // those that have said who they are
};

ControlPlane::ControlPlane(const Identity& self) : self_(self), sockets_(std::make_unique<Sockets>()) {
  sockets_->by_rank.resize(static_cast<std::size_t>(self_.size), nullptr);
  sockets_->listener = listen_anywhere();
  std::random_device random;
  for (auto& word : token_) word = (static_cast<std::uint64_t>(random()) << 32) | random();
  std::ostringstream line;
  line << token_[0] << ' ' << token_[1] << ' ' << port_of(sockets_->listener);
  for (const std::string& address : own_addresses()) line << ' ' << address;
  endpoint_ = line.str();
}

ControlPlane::ControlPlane(const Identity& self, const std::string& endpoint, milliseconds patience)
    : self_(self), sockets_(std::make_unique<Sockets>()) {
  sockets_->by_rank.resize(static_cast<std::size_t>(self_.size), nullptr);
  meet(endpoint, patience);
}

ControlPlane::~ControlPlane() = default;

void ControlPlane::meet(const std::string& endpoint, milliseconds patience) {
  std::istringstream line(endpoint);
  int port = 0;
  line >> token_[0] >> token_[1] >> port;
  const auto deadline = Clock::now() + patience;
  std::string tried;
  for (std::string address; line >> address && Clock::now() < deadline;) {
    // Another host may have the same address (a bridge of containers), and someone else the port there: only the token
    // tells that it is rank 0.
    constexpr milliseconds kEach{2000};
    std::string why = "does not answer as rank 0 of this job";
    auto connection = std::make_unique<Connection>();
    connection->socket = connect_to(address, port, kEach, why);
    if (connection->socket.open()) {
      connection->rank = 0;
      sockets_->by_rank[0] = connection.get();
      sockets_->connections.push_back(std::move(connection));
      ControlMessage hello;
      hello.kind = ControlKind::kHello;
      send(0, std::move(hello));
      for (const auto until = Clock::now() + kEach; connected(0) && Clock::now() < until;) {
        early_ = wait(milliseconds(100));
        if (!early_.empty() && early_[0].message.kind == ControlKind::kWelcome && early_[0].message.token == token_)
          return;
      }
      early_.clear();
      sockets_->by_rank[0] = nullptr;
      sockets_->connections.clear();
    }
    if (!tried.empty()) tried += ", ";
    tried.append(address).append(": ").append(why);
  }
  throw CommError("rank " + std::to_string(self_.rank) + " on " + self_.host + " cannot reach rank 0 at port " +
                  std::to_string(port) + " (" + tried + ")");
}

ControlPlane::Connection* ControlPlane::find(int rank) const {
  Connection* connection = sockets_->by_rank[static_cast<std::size_t>(rank)];
  return connection != nullptr && !connection->broken ? connection : nullptr;
}

bool ControlPlane::connected(int rank) const { return find(rank) != nullptr; }

void ControlPlane::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(sockets_->alarm.get(), &one, sizeof one);
}

std::vector<ControlPlane::News> ControlPlane::wait(milliseconds patience) {
  std::vector<pollfd> ready{{sockets_->alarm.get(), POLLIN, 0}, {sockets_->listener.get(), POLLIN, 0}};
  for (const auto& connection : sockets_->connections)
    ready.push_back(
        {connection->socket.get(), static_cast<short>(connection->out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
  ::poll(ready.data(), ready.size(), early_.empty() ? static_cast<int>(patience.count()) : 0);
  std::uint64_t alarms = 0;
  [[maybe_unused]] const ssize_t taken = ::read(sockets_->alarm.get(), &alarms, sizeof alarms);
  auto news = std::exchange(early_, {});
  for (std::size_t i = 2; i < ready.size(); ++i) {
    Connection& connection = *sockets_->connections[i - 2];
    if ((ready[i].revents & POLLOUT) != 0) write(connection);
    if ((ready[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0) read(connection, news);
  }
  for (const auto& connection : sockets_->connections)
    if (connection->broken) drop(*connection, news);
  std::erase_if(sockets_->connections, [](const auto& connection) { return !connection->socket.open(); });
  if ((ready[1].revents & POLLIN) != 0) accept_all();
  return news;
}

void ControlPlane::accept_all() {
  for (Descriptor fresh = accept_from(sockets_->listener); fresh.open(); fresh = accept_from(sockets_->listener)) {
    sockets_->connections.push_back(std::make_unique<Connection>());
    sockets_->connections.back()->socket = std::move(fresh);
  }
}

void ControlPlane::read(Connection& connection, std::vector<News>& news) {
  std::array<char, 1 << 14> bytes{};
  while (!connection.broken) {
    const ssize_t got = ::recv(connection.socket.get(), bytes.data(), bytes.size(), 0);
    if (got > 0) {
      connection.in.append(bytes.data(), static_cast<std::size_t>(got));
    } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      break;
    } else {
      connection.broken = true;
    }
  }
  std::size_t at = 0;
  for (Frame frame; connection.in.size() - at >= sizeof frame;) {
    std::memcpy(&frame, connection.in.data() + at, sizeof frame);
    if (frame.magic != Frame{}.magic || frame.text_bytes > kMostText) {  // a stranger
      connection.broken = true;
      break;
    }
    if (connection.in.size() - at < sizeof frame + frame.text_bytes) break;
    ControlMessage message{frame.header, connection.in.substr(at + sizeof frame, frame.text_bytes)};
    at += sizeof frame + frame.text_bytes;
    if (!take(connection, std::move(message), news)) {
      connection.broken = true;
      break;
    }
  }
  connection.in.erase(0, at);
}

/// False when whoever speaks does not belong here.
bool ControlPlane::take(Connection& connection, ControlMessage message, std::vector<News>& news) {
  if (connection.rank < 0) {
    if (message.kind != ControlKind::kHello || message.token != token_ || message.rank <= 0 ||
        message.rank >= self_.size || connected(message.rank))
      return false;
    connection.rank = message.rank;
    sockets_->by_rank[static_cast<std::size_t>(message.rank)] = &connection;
    ControlMessage welcome;
    welcome.kind = ControlKind::kWelcome;
    put(connection, std::move(welcome));
  }
  news.push_back({connection.rank, false, std::move(message)});
  return true;
}

void ControlPlane::drop(Connection& connection, std::vector<News>& news) {
  if (connection.rank >= 0) {
    sockets_->by_rank[static_cast<std::size_t>(connection.rank)] = nullptr;
    news.push_back({connection.rank, true, {}});
  }
  connection.socket.close();
}

void ControlPlane::send(int rank, ControlMessage message) {
  if (Connection* connection = find(rank)) put(*connection, std::move(message));
}

void ControlPlane::put(Connection& connection, ControlMessage message) {
  if (message.kind == ControlKind::kBeat && connection.out.size() > kMostPending) return;
  message.rank = self_.rank;
  message.pid = self_.pid;
  std::copy_n(self_.host.begin(), std::min(self_.host.size(), message.host.size() - 1), message.host.begin());
  if (message.kind == ControlKind::kHello || message.kind == ControlKind::kWelcome) message.token = token_;
  message.text.resize(std::min<std::size_t>(message.text.size(), kMostText));
  Frame frame;
  frame.header = message;
  frame.text_bytes = static_cast<std::uint32_t>(message.text.size());
  connection.out.append(reinterpret_cast<const char*>(&frame), sizeof frame).append(message.text);
  write(connection);
}

void ControlPlane::write(Connection& connection) {
  while (!connection.out.empty()) {
    const ssize_t sent = ::send(connection.socket.get(), connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      connection.out.erase(0, static_cast<std::size_t>(sent));
    } else if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
      return;
    } else {
      // Not yet the end: what the peer has said before may still be there to be read, and read() finds the end too.
      connection.out.clear();
      return;
    }
  }
}

}  // namespace decant::dist
