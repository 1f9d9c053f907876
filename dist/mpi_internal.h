// The MPI side of dist, for its own sources: checked calls, lists of requests, the queue of operations on their way.
#pragma once

#include <mpi.h>
#include <torch/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dist/communicator.h"

namespace decant::dist {

/// Sums travel in messages of up to so many bytes. In shared memory 256 KiB to 4 MiB measured alike; 32 KiB is half as fast.
constexpr std::int64_t kPieceBytes = std::int64_t{256} << 10;

/// Throws CommError with the call, MPI's own message and one hint unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* call);

/// Requests that are tested in order. `peer`: whom a request waits for, -1 for everybody.
class RequestList {
 public:
  void add(MPI_Request request, int peer);
  /// Tests the first request that is not done; true when it is (next() then moves on).
  [[nodiscard]] bool test_next();
  /// Tests as far as requests are done; true when all are.
  [[nodiscard]] bool test_all();
  [[nodiscard]] std::size_t done() const { return done_; }
  [[nodiscard]] bool all_done() const { return done_ == requests_.size(); }
  /// Adds the peers of the requests that are not done to `peers`.
  void pending_peers(std::vector<int>& peers);

 private:
  std::vector<MPI_Request> requests_;
  std::vector<int> peers_;
  std::size_t done_ = 0;
};

/// One collective on its way. It owns what MPI reads and writes until it is done.
class Operation {
 public:
  Operation(std::string name, std::int64_t sequence, std::int64_t bytes)
      : name(std::move(name)), sequence(sequence), bytes(bytes) {}
  virtual ~Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  /// Makes progress; true when done. Throws CommError.
  [[nodiscard]] virtual bool advance() = 0;
  /// Messages that are through so far: while it grows, somebody is at work.
  [[nodiscard]] virtual std::size_t messages() const = 0;
  /// Ranks that have not answered yet; empty when MPI does not tell.
  [[nodiscard]] virtual std::vector<int> missing() = 0;
  /// A buffer that the queue may give to a later operation.
  [[nodiscard]] virtual torch::Tensor take_scratch() { return {}; }

  const std::string name;
  const std::int64_t sequence, bytes;
  bool done = false;
};

/// A collective that is done when its requests are.
class RequestOperation final : public Operation {
 public:
  using Operation::Operation;
  bool advance() override { return requests.test_all(); }
  std::size_t messages() const override { return requests.done(); }
  std::vector<int> missing() override;

  RequestList requests;
  std::vector<torch::Tensor> kept;
};

/// Communicator, rank, size and tags of an exchange between pairs. Each operation has two tags of its own.
struct Lane {
  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0, size = 1, tag = 0;
};

/// Operations on their way, of one communicator. Whoever waits for one of them advances all: a peer may be waiting for
/// another one first.
class MpiQueue {
 public:
  /// Duplicates MPI_COMM_WORLD; every rank takes part.
  explicit MpiQueue(std::chrono::milliseconds timeout);
  /// Of the ranks of `parent` that give the same color. They all have called it: nothing here has a time-out.
  MpiQueue(const MpiQueue& parent, int color);
  ~MpiQueue();
  MpiQueue(const MpiQueue&) = delete;
  MpiQueue& operator=(const MpiQueue&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] MPI_Comm comm() const { return comm_; }
  [[nodiscard]] double waited_seconds() const { return waited_seconds_; }

  /// The number of the next operation. Throws when the queue has failed or this is not MPI's thread.
  [[nodiscard]] std::int64_t next_sequence();
  [[nodiscard]] Lane lane(std::int64_t sequence) const;
  void start(std::shared_ptr<Operation> operation);
  /// True when done.
  [[nodiscard]] bool test(const Operation& operation);
  enum class Patience { kTimeout, kEndless };
  void wait(const Operation& operation, Patience patience = Patience::kTimeout);
  /// [bytes] uint8, reused from finished operations: fresh pages cost more than the exchange.
  [[nodiscard]] torch::Tensor scratch(std::int64_t bytes);

 private:
  using Clock = std::chrono::steady_clock;
  MpiQueue(MPI_Comm owned, std::chrono::milliseconds timeout);
  void require_usable() const;
  /// True when any message came through.
  bool advance_all(Clock::time_point waiting_since);
  [[noreturn]] void fail(Operation& operation, Clock::duration waited, const std::string& why);

  std::chrono::milliseconds timeout_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  std::int64_t sequence_ = 0;
  using Operations = std::vector<std::shared_ptr<Operation>>;
  std::unique_ptr<Operations> active_ = std::make_unique<Operations>();
  std::vector<torch::Tensor> scratch_;
  double waited_seconds_ = 0;
  std::string failure_;
  std::thread::id thread_ = std::this_thread::get_id();
};

/// Whether sum_directly() takes this sum; else MPI's own collective is used.
[[nodiscard]] bool can_sum_directly(const torch::Tensor& tensor, Reduce op);

/// In place sum over ranks, in rank order whatever arrives first.
[[nodiscard]] std::shared_ptr<Operation> sum_directly(MpiQueue& queue, const std::string& name, torch::Tensor tensor);

}  // namespace decant::dist
