#include <algorithm>
#include <array>
#include <exception>

#include "dist/backoff.h"
#include "dist/errors.h"
#include "dist/mpi_internal.h"

namespace decant::dist {

namespace {

using Clock = std::chrono::steady_clock;

const char* hint(int code) {
  int kind = MPI_ERR_UNKNOWN;
  MPI_Error_class(code, &kind);
  if (kind == MPI_ERR_TRUNCATE) return "ranks exchanged different sizes: do all of them have the same job file?";
  if (kind == MPI_ERR_NO_MEM) return "the host is short of memory";
  return "another rank may have ended: its output or log tells why";
}

std::string rank_list(std::vector<int> ranks) {
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  std::string out;
  for (const int rank : ranks) out += (out.empty() ? "" : ", ") + std::to_string(rank);
  return out;
}

/// Duplicates the world without a blocking call, which could not be given up.
MPI_Comm duplicate_world(std::chrono::milliseconds timeout) {
  MPI_Comm out = MPI_COMM_NULL;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Comm_idup(MPI_COMM_WORLD, &out, &request), "MPI_Comm_idup");
  const auto begin = Clock::now();
  const Backoff backoff;
  while (true) {
    int done = 0;
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0) return out;
    if (Clock::now() - begin > timeout)
      throw CommError("make_communicator", 0, 0, timeout, "not every rank of the job made its communicator");
    backoff.pause();
  }
}

MPI_Comm split_of(MPI_Comm comm, int color, int key) {
  MPI_Comm out = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(comm, color, key, &out), "MPI_Comm_split");
  return out;
}

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING + 1> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw CommError(std::string(call) + ": " + text.data() + " (" + hint(code) + ")");
}

void RequestList::add(MPI_Request request, int peer) {
  requests_.push_back(request);
  peers_.push_back(peer);
}

bool RequestList::test_next() {
  if (all_done()) return false;
  int done = 0;
  check_mpi(MPI_Test(&requests_[done_], &done, MPI_STATUS_IGNORE), "MPI_Test");
  if (done != 0) ++done_;
  return done != 0;
}

bool RequestList::test_all() {
  while (test_next()) {
  }
  return all_done();
}

void RequestList::pending_peers(std::vector<int>& peers) {
  for (std::size_t i = done_; i < requests_.size(); ++i) {
    int done = 0;
    if (peers_[i] >= 0 && MPI_Test(&requests_[i], &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done == 0)
      peers.push_back(peers_[i]);
  }
}

std::vector<int> RequestOperation::missing() {
  std::vector<int> out;
  requests.pending_peers(out);
  return out;
}

MpiQueue::MpiQueue(std::chrono::milliseconds timeout) : MpiQueue(duplicate_world(timeout), timeout) {}

MpiQueue::MpiQueue(const MpiQueue& parent, int color)
    : MpiQueue(split_of(parent.comm_, color, parent.rank_), parent.timeout_) {}

MpiQueue::MpiQueue(MPI_Comm owned, std::chrono::milliseconds timeout) : timeout_(timeout), comm_(owned) {
  check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
}

MpiQueue::~MpiQueue() {
  if (!active_->empty()) {
    (void)
        active_.release();  // MPI may still write into the buffers of what is on its way: they are given up, not freed
    return;
  }
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized == 0 && failure_.empty() && std::uncaught_exceptions() == 0) MPI_Comm_free(&comm_);
}

void MpiQueue::require_usable() const {
  if (!failure_.empty()) throw CommError("the communicator cannot be used after its failure: " + failure_);
  if (std::this_thread::get_id() != thread_)
    throw CommError("MPI was called from another thread than the one that made the communicator");
}

std::int64_t MpiQueue::next_sequence() {
  require_usable();
  return sequence_++;
}

Lane MpiQueue::lane(std::int64_t sequence) const {
  // MPI promises tags up to 32767; operations that far apart are never on their way together.
  constexpr std::int64_t kLanes = 16384;
  return {comm_, rank_, size_, static_cast<int>(sequence % kLanes) * 2};
}

void MpiQueue::start(std::shared_ptr<Operation> operation) {
  active_->push_back(std::move(operation));
  advance_all(Clock::now());
}

bool MpiQueue::advance_all(Clock::time_point waiting_since) {
  bool moved = false;
  for (const auto& operation : *active_) {
    const std::size_t before = operation->messages();
    try {
      operation->done = operation->advance();
    } catch (const CommError& error) {
      fail(*operation, Clock::now() - waiting_since, error.what());
    }
    moved = moved || operation->done || operation->messages() != before;
    if (operation->done)
      if (torch::Tensor buffer = operation->take_scratch(); buffer.defined()) scratch_.push_back(std::move(buffer));
  }
  std::erase_if(*active_, [](const auto& operation) { return operation->done; });
  return moved;
}

bool MpiQueue::test(const Operation& operation) {
  if (operation.done) return true;
  require_usable();
  advance_all(Clock::now());
  return operation.done;
}

void MpiQueue::wait(const Operation& operation, Patience patience) {
  if (operation.done) return;
  require_usable();
  const auto begin = Clock::now();
  Backoff backoff;
  while (!operation.done) {
    if (advance_all(begin)) {
      backoff.reset();
      continue;
    }
    const auto waited = Clock::now() - begin;
    if (patience == Patience::kTimeout && waited > timeout_) {
      const auto at =
          std::find_if(active_->begin(), active_->end(), [&](const auto& one) { return one.get() == &operation; });
      const std::string ranks = rank_list((*at)->missing());
      fail(**at, waited,
           "time-out: " + (ranks.empty() ? "another rank is late or gone" : "no answer yet from rank " + ranks) +
               "; its output or log tells why");
    }
    backoff.pause();
  }
  waited_seconds_ += std::chrono::duration<double>(Clock::now() - begin).count();
}

void MpiQueue::fail(Operation& operation, Clock::duration waited, const std::string& why) {
  const CommError error(operation.name, operation.sequence, operation.bytes,
                        std::chrono::duration_cast<std::chrono::milliseconds>(waited), why);
  failure_ = error.what();
  throw error;
}

torch::Tensor MpiQueue::scratch(std::int64_t bytes) {
  auto best = scratch_.end();
  for (auto at = scratch_.begin(); at != scratch_.end(); ++at)
    if (at->numel() >= bytes && (best == scratch_.end() || at->numel() < best->numel())) best = at;
  if (best == scratch_.end()) return torch::empty({bytes}, torch::kUInt8);
  torch::Tensor out = std::move(*best);
  scratch_.erase(best);
  return out;
}

}  // namespace decant::dist
