#include "dist/watchdog.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/errors.h"
#include "dist/errors.h"
#include "dist/verdict.h"

namespace decant::dist {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kTurn{100};        // how often it looks when nothing arrives
constexpr milliseconds kSuspended{2000};  // a turn that took longer: this process was stopped itself
constexpr milliseconds kResumed{5000};    // after it, whoever is gone has ended the job because of that
constexpr milliseconds kUnheard{5000};    // a rank that is silent for so long is sent no more beats: it reads none
constexpr milliseconds kGrace{2000};      // beyond the time-out, for the waiting thread to notice by itself
constexpr milliseconds kConnect{10'000};

ControlMessage message_of(ControlKind kind, int code = 0, std::string text = "") {
  ControlMessage message;
  message.kind = kind;
  message.code = code;
  message.text = std::move(text);
  return message;
}

}  // namespace

class Watchdog::Impl {
 public:
  Impl(std::unique_ptr<ControlPlane> plane, Identity self, FlightRecorder& recorder, WatchdogOptions options,
       OnTrip on_trip)
      : plane_(std::move(plane)),
        self_(std::move(self)),
        recorder_(recorder),
        options_(options),
        on_trip_(std::move(on_trip)),
        timeout_(options.timeout.count()),
        ranks_(static_cast<std::size_t>(self_.size)),
        thread_([this] { run(); }) {}

  ~Impl() {
    stopping_ = true;
    if (plane_) plane_->wake();
    thread_.join();
  }

  void set_timeout(milliseconds timeout) { timeout_ = timeout.count(); }

  void fail(const std::string& what) {
    request({.text = what});
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, options_.patience, [this] { return ended_; });
  }

  void leave(int code) {
    request({.code = code});
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 5 * kTurn, [this] { return !request_ || ended_; });
  }

 private:
  /// What the rank's own thread has to say.
  struct Request {
    int code = -1;  // ends with it by itself; -1: `text` tells of a collective
    std::string text = {};
  };
  /// Why the job is to end.
  struct Cause {
    std::string first;  // what is told before all
    int code = static_cast<int>(base::ExitCode::kCommunication);
    bool quiet = false;  // a rank ends the job by itself and tells why
    Clock::time_point found, verdict_at;
  };

  [[nodiscard]] bool leads() const { return self_.rank == 0; }
  [[nodiscard]] PeerState& at(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }

  void run();
  [[nodiscard]] std::vector<ControlPlane::News> news();
  void take(ControlPlane::News& news);
  void take_request();
  void compare(int rank);
  void look(Clock::time_point now);
  void add_cause(const std::string& first, milliseconds delay);
  void end_quietly(const std::string& why, int code, milliseconds delay);
  [[nodiscard]] milliseconds own_delay() const;
  void leaving(const std::string& rank, int code);
  [[nodiscard]] ControlMessage standing_message(int code) const;
  void beat(int code);
  void send_all(const ControlMessage& message);
  [[nodiscard]] bool leader_is_back(Clock::time_point now);
  void judge_and_trip();
  void tell_end(const TripReport& report);
  void trip(const TripReport& report);
  void request(Request request) {
    {
      const std::lock_guard lock(mutex_);
      request_ = std::move(request);
    }
    if (plane_) plane_->wake();
  }

  std::unique_ptr<ControlPlane> plane_;
  Identity self_;
  FlightRecorder& recorder_;
  WatchdogOptions options_;
  OnTrip on_trip_;
  std::atomic<std::int64_t> timeout_;
  std::atomic<bool> stopping_{false};

  // Of the thread.
  std::vector<PeerState> ranks_;
  std::optional<Cause> cause_;
  int speaker_ = 1;
  bool tripped_ = false, suspended_ = false;
  Clock::time_point resumed_ = Clock::now(), next_beat_{};

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::optional<Request> request_;
  bool ended_ = false;
  std::thread thread_;  // last: it uses all of the above
};

void Watchdog::Impl::run() {
  ::pthread_setname_np(::pthread_self(), "decant-watchdog");
  for (auto last = Clock::now(); !stopping_ && !tripped_;) {
    auto arrived = news();
    const auto now = Clock::now();
    if (now - last > kSuspended) {  // the clock went on while this process did not: nobody is late for that
      resumed_ = now;
      suspended_ = true;
      for (PeerState& peer : ranks_) peer.heard = now;
    }
    last = now;
    for (ControlPlane::News& one : arrived)
      if (!tripped_) take(one);
    if (tripped_) break;
    take_request();
    if (now >= next_beat_) {
      beat(0);
      next_beat_ = now + options_.beat;
    }
    look(now);
    if (cause_ && now >= cause_->verdict_at && !leader_is_back(now)) judge_and_trip();
  }
  if (!tripped_) send_all(message_of(ControlKind::kBye));
}

std::vector<ControlPlane::News> Watchdog::Impl::news() {
  if (plane_) return plane_->wait(std::min(kTurn, options_.beat));
  std::this_thread::sleep_for(kTurn);
  return {};
}

void Watchdog::Impl::take(ControlPlane::News& news) {
  PeerState& peer = at(news.rank);
  ControlMessage& message = news.message;
  if (news.gone) {
    if (peer.left || (cause_ && cause_->quiet)) return;
    peer.gone = true;
    if (suspended_ && Clock::now() - resumed_ < kResumed)
      return end_quietly("this rank was stopped, and the others have ended the job meanwhile",
                         static_cast<int>(base::ExitCode::kCommunication), options_.settle);
    return add_cause("", own_delay());
  }
  message.host.back() = '\0';
  peer.who = {news.rank, self_.size, message.host.data(), message.pid};
  peer.known = true;
  peer.silent = false;
  peer.heard = Clock::now();
  switch (message.kind) {
    case ControlKind::kHello:  // so that it knows rank 0, should that one not come to its next beat
      plane_->send(news.rank, standing_message(0));
      break;
    case ControlKind::kBeat:
    case ControlKind::kTrouble:
      peer.standing = message.standing;
      if (message.speaker > 0) speaker_ = message.speaker;
      if (message.kind == ControlKind::kTrouble) {
        peer.trouble = message.text;
        add_cause("", options_.settle);
      }
      compare(news.rank);
      if (message.code == 1) beat(0);
      break;
    case ControlKind::kLeaving:
      return leaving(message.text, message.code);
    case ControlKind::kEnd:
      for (const int pid : message.resume)
        if (pid > 0) ::kill(pid, SIGCONT);
      return trip({message.text, recorder_.history(Standing::kBriefs), message.code, false});
    case ControlKind::kBye:
      peer.left = true;
      break;
    default:
      break;
  }
}

/// Rank 0 compares all others with itself.
void Watchdog::Impl::compare(int rank) {
  if (!leads() || (cause_ && (cause_->quiet || !cause_->first.empty()))) return;
  if (const auto mismatch = find_mismatch(recorder_, 0, rank, at(rank).standing)) add_cause(*mismatch, options_.settle);
}

/// Rank 0 passes on what another rank has said.
void Watchdog::Impl::leaving(const std::string& rank, int code) {
  if (cause_ && cause_->quiet) return;
  end_quietly("rank " + rank + " has ended with code " + std::to_string(code) + " and said why", code,
              options_.patience);
  if (leads() || rank == std::to_string(self_.rank)) send_all(message_of(ControlKind::kLeaving, code, rank));
}

void Watchdog::Impl::take_request() {
  std::optional<Request> request;
  {
    const std::lock_guard lock(mutex_);
    request = std::exchange(request_, std::nullopt);
  }
  if (!request) return;
  if (request->code >= 0) {
    leaving(std::to_string(self_.rank), request->code);
  } else {
    at(self_.rank).trouble = request->text;
    ControlMessage message = message_of(ControlKind::kTrouble, 0, request->text);
    message.standing = recorder_.standing();
    if (!leads() && plane_) plane_->send(0, std::move(message));
    const bool judged_elsewhere =
        !leads() && plane_ && plane_->connected(0) && Clock::now() - at(0).heard < 4 * options_.beat + kTurn;
    add_cause("", judged_elsewhere ? options_.patience : own_delay());
  }
  changed_.notify_all();
}

void Watchdog::Impl::look(Clock::time_point now) {
  if (cause_) return;
  const milliseconds timeout(timeout_.load());
  for (PeerState& peer : ranks_) {
    if (!peer.known || peer.gone || peer.left || now - peer.heard <= timeout) continue;
    peer.silent = true;
    add_cause("", own_delay());
  }
  const Standing standing = recorder_.standing();
  const auto record = recorder_.find(standing.waiting);
  if (!record || record->kind == CollectiveKind::kRendezvous) return;
  const auto waited = std::min<Clock::duration>(milliseconds(standing.waited_ms), now - resumed_);
  if (waited > timeout + kGrace)
    request({.text = std::string(name_of(record->kind)) + " #" + std::to_string(record->sequence) +
                     " still blocks after its time-out of " + std::to_string(timeout.count()) + " ms"});
}

/// The lowest rank that is left speaks first, while nobody has yet told the launcher to end the job.
milliseconds Watchdog::Impl::own_delay() const {
  return leads() || self_.rank == speaker_ ? options_.settle : 2 * options_.settle;
}

void Watchdog::Impl::end_quietly(const std::string& why, int code, milliseconds delay) {
  const auto now = Clock::now();
  cause_ = Cause{why, code, true, now, now + delay};
}

void Watchdog::Impl::add_cause(const std::string& first, milliseconds delay) {
  const auto now = Clock::now(), verdict_at = now + delay;
  if (!cause_) {
    cause_ = Cause{.first = first, .found = now, .verdict_at = verdict_at};
    if (leads()) beat(1);  // the verdict tells where all of them are now
    return;
  }
  if (cause_->quiet) return;
  if (cause_->first.empty()) cause_->first = first;
  cause_->verdict_at = std::min(cause_->verdict_at, verdict_at);
}

ControlMessage Watchdog::Impl::standing_message(int code) const {
  ControlMessage message = message_of(ControlKind::kBeat, code);
  message.standing = recorder_.standing();
  for (int rank = self_.size - 1; rank > 0; --rank)
    if (plane_->connected(rank)) message.speaker = rank;
  return message;
}

void Watchdog::Impl::beat(int code) {
  if (!plane_) return;
  const ControlMessage message = standing_message(code);
  const auto now = Clock::now();
  for (PeerState& peer : ranks_)
    if (!peer.known || now - peer.heard < kUnheard) plane_->send(static_cast<int>(&peer - ranks_.data()), message);
}

void Watchdog::Impl::send_all(const ControlMessage& message) {
  if (!plane_) return;
  for (int rank = 0; rank < self_.size; ++rank) plane_->send(rank, message);
}

/// Rank 0 has been heard of since the bad news, perhaps because it was stopped and goes on: it judges, not this rank.
bool Watchdog::Impl::leader_is_back(Clock::time_point now) {
  return !leads() && !cause_->quiet && plane_ && plane_->connected(0) && at(0).heard > cause_->found &&
         now < cause_->found + options_.patience;
}

void Watchdog::Impl::judge_and_trip() {
  PeerState& own = at(self_.rank);
  own.who = self_;
  own.known = true;
  own.standing = recorder_.standing();
  const Cause cause = *cause_;
  // A collective may time out before a stopped rank has been silent for as long; but it has not answered since either.
  for (PeerState& peer : ranks_)
    if (peer.known && !peer.gone && !peer.left && peer.heard < cause.found - 2 * options_.beat) peer.silent = true;
  own.silent = false;
  TripReport report{cause.quiet ? cause.first : judge(ranks_, cause.first, Clock::now()),
                    recorder_.history(Standing::kBriefs), cause.code, false};
  // What rank 0 does not answer any more, the lowest rank that is left tells.
  const bool without_leader = !plane_ || at(0).gone || at(0).silent;
  report.speaks = !cause.quiet && (leads() || !without_leader || self_.rank == speaker_ || !plane_);
  tell_end(report);
  trip(report);
}

/// Rank 0 lets all others know; who is stopped on a host hears of it from someone there, and then goes on to read it.
void Watchdog::Impl::tell_end(const TripReport& report) {
  if (!plane_) return;
  for (PeerState& peer : ranks_)
    if (peer.silent && peer.who.host == self_.host) ::kill(peer.who.pid, SIGCONT);
  if (!leads()) return;
  for (int rank = 1; rank < self_.size; ++rank) {
    ControlMessage message = message_of(ControlKind::kEnd, report.code, report.what);
    std::size_t next = 0;
    for (const PeerState& peer : ranks_)
      if (peer.silent && peer.who.host == at(rank).who.host && peer.who.rank != rank && next < message.resume.size())
        message.resume[next++] = peer.who.pid;
    plane_->send(rank, std::move(message));
  }
  for (int turn = 0; turn < 5; ++turn)
    (void)plane_->wait(milliseconds(20));  // so that it is out before the process ends
}

void Watchdog::Impl::trip(const TripReport& report) {
  tripped_ = true;
  on_trip_(report);
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

Watchdog::Watchdog(std::unique_ptr<ControlPlane> plane, Identity self, FlightRecorder& recorder,
                   WatchdogOptions options, OnTrip on_trip)
    : impl_(std::make_unique<Impl>(std::move(plane), std::move(self), recorder, options, std::move(on_trip))) {}

Watchdog::Watchdog(Communicator& communicator, const std::string& host, FlightRecorder& recorder,
                   WatchdogOptions options, OnTrip on_trip) {
  const Identity self{communicator.rank(), communicator.size(), host, static_cast<int>(::getpid())};
  options.beat = std::max(options.beat, 2 * self.size * milliseconds(1));
  std::unique_ptr<ControlPlane> plane;
  std::string endpoint, why;
  const auto attempt = [&](const auto& make) {
    try {
      plane = make();
    } catch (const CommError& error) {
      why = error.what();
    }
  };
  const auto start = [&] { impl_ = std::make_unique<Impl>(std::move(plane), self, recorder, options, on_trip); };
  if (self.rank == 0) {
    attempt([&] { return std::make_unique<ControlPlane>(self); });
    if (plane) endpoint = plane->endpoint();
    start();  // before the others connect: somebody must answer them
  }
  endpoint = communicator.broadcast_bytes(endpoint, 0);
  if (self.rank > 0) {
    if (!endpoint.empty()) attempt([&] { return std::make_unique<ControlPlane>(self, endpoint, kConnect); });
    start();
  }
  for (const std::string& text : communicator.gather_bytes(why))
    if (!text.empty()) note_ += (note_.empty() ? "no control plane: " : "; ") + text;
}

Watchdog::~Watchdog() = default;

void Watchdog::set_timeout(milliseconds timeout) { impl_->set_timeout(timeout); }
void Watchdog::fail(const std::string& what) { impl_->fail(what); }
void Watchdog::leave(int code) { impl_->leave(code); }
const std::string& Watchdog::note() const { return note_; }

}  // namespace decant::dist
