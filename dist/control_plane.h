// How ranks reach each other while the data plane is blocked: a TCP connection from every rank to rank 0, apart from MPI
// and NCCL. It is used by one thread, the watchdog's; nothing in it blocks for longer than it is told.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dist/flight_recorder.h"

namespace decant::dist {

enum class ControlKind : std::uint32_t {
  kHello = 1,  // who connects
  kWelcome,    // rank 0's answer
  kBeat,       // where a rank stands, with every heartbeat; code 1: answer at once
  kTrouble,    // a collective of this rank has failed or does not end: `text`
  kLeaving,    // rank `text` ends with `code`, for a reason of its own
  kEnd,        // rank 0: everybody ends with `code`, because of `text`
  kBye         // this rank has finished its work
};

/// The part of a message that has a fixed size; plain bytes.
struct ControlHeader {
  ControlKind kind = ControlKind::kBeat;
  std::int32_t rank = 0, code = 0, pid = 0;
  std::int32_t speaker = 0;              // beat of rank 0: who speaks when rank 0 is gone
  std::array<std::int32_t, 8> resume{};  // end: processes of the receiver's host that are stopped; 0: none
  std::array<std::uint64_t, 2> token{};  // hello and welcome: of this job
  std::array<char, 64> host{};
  Standing standing;
};

struct ControlMessage : ControlHeader {
  std::string text;
};

/// Who a rank is.
struct Identity {
  int rank = 0, size = 1;
  std::string host;
  int pid = 0;
};

class ControlPlane {
 public:
  /// Rank 0's end. Throws CommError when nothing can listen here.
  explicit ControlPlane(const Identity& self);
  /// The end of another rank: connects to what endpoint() of rank 0 says, whose wait() must be running. Throws CommError
  /// when nobody answers there within `patience`.
  ControlPlane(const Identity& self, const std::string& endpoint, std::chrono::milliseconds patience);
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  /// Rank 0: addresses, port and token, as one line.
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  [[nodiscard]] const Identity& self() const { return self_; }

  /// A message, or the end of the connection to a rank.
  struct News {
    int rank = 0;
    bool gone = false;
    ControlMessage message;
  };
  /// What has arrived; waits up to `patience` for the first of it, or for wake().
  [[nodiscard]] std::vector<News> wait(std::chrono::milliseconds patience);
  /// Makes wait() return. From any thread.
  void wake();
  /// To a rank that is connected (rank 0's end: any; else rank 0); nothing happens where it is not. Never blocks: what
  /// does not fit the socket goes with the next wait().
  void send(int rank, ControlMessage message);
  [[nodiscard]] bool connected(int rank) const;

 private:
  struct Connection;
  void meet(const std::string& endpoint, std::chrono::milliseconds patience);
  [[nodiscard]] Connection* find(int rank) const;
  void accept_all();
  void read(Connection& connection, std::vector<News>& news);
  [[nodiscard]] bool take(Connection& connection, ControlMessage message, std::vector<News>& news);
  void write(Connection& connection);
  void put(Connection& connection, ControlMessage message);
  void drop(Connection& connection, std::vector<News>& news);

  Identity self_;
  std::string endpoint_;
  std::array<std::uint64_t, 2> token_{};
  std::vector<News> early_;  // came with the welcome; the next wait() tells it
  struct Sockets;
  std::unique_ptr<Sockets> sockets_;
};

}  // namespace decant::dist
