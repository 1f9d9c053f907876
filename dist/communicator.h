// Collectives over ranks: one interface, three backends (single process, MPI on CPUs, NCCL on GPUs).
#pragma once

#include <torch/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace decant::dist {

enum class Reduce { kSum, kMax, kMin };

class FlightRecorder;

/// A collective on its way. The tensors it works on must live until wait() returns.
class Work {
 public:
  virtual ~Work() = default;
  /// Makes progress; true when done.
  bool test();
  /// Blocks until done. CPU: the result is in place. CUDA: the caller's current stream is made to wait for it.
  /// Throws CommError past the communicator's time-out.
  void wait();
  /// Lets `recorder`, which must outlive it, know how number `sequence` goes on.
  void record(FlightRecorder& recorder, std::int64_t sequence);

 protected:
  virtual bool do_test() = 0;
  virtual void do_wait() = 0;

 private:
  FlightRecorder* recorder_ = nullptr;  // null: nobody keeps a record
  std::int64_t sequence_ = -1;
};

/// All ranks must call the same collectives in the same order with the same sizes. Tensors are contiguous, on the
/// backend's device; dtypes: float32, float64, int64, uint8, bfloat16 (summed in float32 and rank order, rounded once;
/// no maximum or minimum). The order of summation is fixed for a given number of ranks. MPI: all calls come from the
/// thread that initialised MPI. Errors are CommError.
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// "single", "mpi" or "nccl".
  [[nodiscard]] virtual std::string backend() const = 0;
  /// Device whose tensors it takes.
  [[nodiscard]] virtual torch::Device device() const = 0;

  /// In place.
  [[nodiscard]] virtual std::unique_ptr<Work> all_reduce(torch::Tensor tensor, Reduce op) = 0;
  /// In place, from `root`.
  [[nodiscard]] virtual std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root) = 0;
  /// Equal sizes: `out` is `size()` times as long as `in`, by rank.
  [[nodiscard]] virtual std::unique_ptr<Work> all_gather(torch::Tensor out, torch::Tensor in) = 0;
  /// Unequal sizes: `in` holds in_counts[r] elements for rank r, by rank, and `out` gets out_counts[r] from rank r. What
  /// one rank sends another is what that one expects of it.
  [[nodiscard]] virtual std::unique_ptr<Work> all_to_all(torch::Tensor out, const std::vector<std::int64_t>& out_counts,
                                                         torch::Tensor in,
                                                         const std::vector<std::int64_t>& in_counts) = 0;

  /// The ranks that give the same `color`, in the order of their ranks here, as a communicator of their own. Collective;
  /// a rank that is late is waited for by the time-out.
  [[nodiscard]] virtual std::unique_ptr<Communicator> split(int color) = 0;

  /// Host-side helpers over the control path (MPI in both distributed backends); they block.
  virtual void barrier() = 0;
  /// A barrier without time-out, for where some ranks work while the others wait by design (an import, the last parts of
  /// a label store). A rank that fails still ends the job.
  virtual void rendezvous() = 0;
  /// In place on host values; used for weights, histograms and agreements.
  virtual void all_reduce_host(std::vector<double>& values, Reduce op) = 0;
  virtual void all_reduce_host(std::vector<std::int64_t>& values, Reduce op) = 0;
  /// Everybody's bytes, by rank.
  [[nodiscard]] virtual std::vector<std::string> gather_bytes(const std::string& bytes) = 0;
  [[nodiscard]] virtual std::string broadcast_bytes(const std::string& bytes, int root) = 0;

  /// Seconds spent blocked in wait() and in host helpers so far.
  [[nodiscard]] virtual double waited_seconds() const = 0;

  /// Where this rank stands, for reports when ranks do not meet: a stage or phase of up to 39 characters, and its step
  /// (-1: none). Not a collective.
  virtual void stand_at(std::string_view /*place*/, std::int64_t /*step*/) {}
};

/// The MPI session of this process: MPI_Init_thread and finalize, rank and size of the world, and the way out of a
/// failed job. Made once by launch, before any communicator.
class MpiSession {
 public:
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  /// Rank and number of ranks on this host.
  [[nodiscard]] int local_rank() const { return local_rank_; }
  [[nodiscard]] int local_size() const { return local_size_; }
  [[nodiscard]] static std::string library_version();
  /// Ends every rank of the job with `code`; does not return.
  [[noreturn]] static void abort(int code);

 private:
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
};

struct CommunicatorOptions {
  std::chrono::milliseconds timeout{std::chrono::minutes(10)};
};

[[nodiscard]] std::unique_ptr<Communicator> make_single_communicator(torch::Device device);
/// CPU tensors over MPI_COMM_WORLD.
[[nodiscard]] std::unique_ptr<Communicator> make_mpi_communicator(const MpiSession& session,
                                                                  CommunicatorOptions options);
/// CUDA tensors over NCCL (its id travels by MPI, a barrier after the broadcast), host helpers over MPI. Throws
/// ConfigError in a build without CUDA.
[[nodiscard]] std::unique_ptr<Communicator> make_nccl_communicator(const MpiSession& session, torch::Device device,
                                                                   CommunicatorOptions options);
/// Version of the NCCL that this process has loaded and its file, or "" in a build without CUDA. Throws ConfigError
/// when it is not the one LibTorch was built with.
[[nodiscard]] std::string nccl_identity();

}  // namespace decant::dist
