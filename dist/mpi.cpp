#include <algorithm>
#include <cstring>

#include "dist/errors.h"
#include "dist/mpi_internal.h"
#include "dist/tensor_checks.h"

namespace decant::dist {

namespace {

constexpr std::int64_t kReducePiece = std::int64_t{4} << 20;   // MPI's own reductions are fastest in such pieces
constexpr std::int64_t kMessageBytes = std::int64_t{1} << 30;  // counts of MPI are ints

MPI_Datatype mpi_type(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat32:
      return MPI_FLOAT;
    case torch::kFloat64:
      return MPI_DOUBLE;
    case torch::kInt64:
      return MPI_INT64_T;
    default:
      return MPI_UINT8_T;
  }
}

MPI_Op mpi_op(Reduce op) { return op == Reduce::kSum ? MPI_SUM : op == Reduce::kMax ? MPI_MAX : MPI_MIN; }

/// Calls `use(address, bytes)` for runs of at most `most` bytes.
template <class Use>
void in_pieces(torch::Tensor& tensor, std::int64_t most, Use use) {
  auto* data = static_cast<std::byte*>(tensor.data_ptr());
  const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
  for (std::int64_t begin = 0; begin < bytes; begin += most)
    use(data + begin, static_cast<int>(std::min(most, bytes - begin)));
}

class MpiWork final : public Work {
 public:
  MpiWork(std::shared_ptr<MpiQueue> queue, std::shared_ptr<Operation> operation)
      : queue_(std::move(queue)), operation_(std::move(operation)) {}
  bool do_test() override { return queue_->test(*operation_); }
  void do_wait() override { queue_->wait(*operation_); }

 private:
  std::shared_ptr<MpiQueue> queue_;
  std::shared_ptr<Operation> operation_;
};

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(std::shared_ptr<MpiQueue> queue) : queue_(std::move(queue)) {}

  int rank() const override { return queue_->rank(); }
  int size() const override { return queue_->size(); }
  std::string backend() const override { return "mpi"; }
  torch::Device device() const override { return torch::kCPU; }
  double waited_seconds() const override { return queue_->waited_seconds(); }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, Reduce op) override {
    check_reduce(tensor, op, device());
    return work(reduce("all_reduce", std::move(tensor), op));
  }
  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root) override {
    check_tensor(tensor, device(), "broadcast");
    return work(spread("broadcast", std::move(tensor), root));
  }
  std::unique_ptr<Work> all_gather(torch::Tensor out, torch::Tensor in) override {
    check_gather(out, in, size(), device());
    std::vector<torch::Tensor> slots;
    const torch::Tensor flat = out.detach().view({size(), in.numel()});
    slots.reserve(static_cast<std::size_t>(size()));
    for (int peer = 0; peer < size(); ++peer) slots.push_back(flat[peer]);
    return work(gather("all_gather", std::move(slots), in.detach().view({-1})));
  }
  std::unique_ptr<Work> all_to_all(torch::Tensor out, const std::vector<std::int64_t>& out_counts, torch::Tensor in,
                                   const std::vector<std::int64_t>& in_counts) override {
    check_all_to_all(out, out_counts, in, in_counts, size(), device());
    return work(exchange("all_to_all", out.detach().view({-1}).split_with_sizes(out_counts),
                         in.detach().view({-1}).split_with_sizes(in_counts)));
  }
  std::unique_ptr<Communicator> split(int color) override {
    barrier();  // MPI_Comm_split blocks, and nobody is late any more
    return std::make_unique<MpiCommunicator>(std::make_shared<MpiQueue>(*queue_, color));
  }

  void barrier() override { meet("barrier", MpiQueue::Patience::kTimeout); }
  void rendezvous() override { meet("rendezvous", MpiQueue::Patience::kEndless); }
  void all_reduce_host(std::vector<double>& values, Reduce op) override { reduce_host(values, torch::kFloat64, op); }
  void all_reduce_host(std::vector<std::int64_t>& values, Reduce op) override {
    reduce_host(values, torch::kInt64, op);
  }
  std::vector<std::string> gather_bytes(const std::string& bytes) override;
  std::string broadcast_bytes(const std::string& bytes, int root) override;

 private:
  std::unique_ptr<Work> work(std::shared_ptr<Operation> operation) {
    queue_->start(operation);
    return std::make_unique<MpiWork>(queue_, std::move(operation));
  }
  void finish(const std::shared_ptr<Operation>& operation, MpiQueue::Patience patience = MpiQueue::Patience::kTimeout) {
    queue_->start(operation);
    queue_->wait(*operation, patience);
  }
  void meet(const char* name, MpiQueue::Patience patience) {
    const auto operation = begin(name, 0);
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibarrier(queue_->comm(), &request), "MPI_Ibarrier");
    operation->requests.add(request, -1);
    finish(operation, patience);
  }
  std::shared_ptr<RequestOperation> begin(const std::string& name, std::int64_t bytes) {
    return std::make_shared<RequestOperation>(name, queue_->next_sequence(), bytes);
  }
  std::shared_ptr<Operation> reduce(const std::string& name, torch::Tensor tensor, Reduce op);
  std::shared_ptr<Operation> spread(const std::string& name, torch::Tensor tensor, int root);
  /// Between all pairs: in[r] to rank r, out[r] from it; both flat.
  std::shared_ptr<Operation> exchange(const std::string& name, std::vector<torch::Tensor> out,
                                      std::vector<torch::Tensor> in);
  std::shared_ptr<Operation> gather(const std::string& name, std::vector<torch::Tensor> out, const torch::Tensor& in) {
    return exchange(name, std::move(out), std::vector<torch::Tensor>(static_cast<std::size_t>(size()), in));
  }
  template <class T>
  void reduce_host(std::vector<T>& values, torch::ScalarType type, Reduce op);

  std::shared_ptr<MpiQueue> queue_;
};

std::shared_ptr<Operation> MpiCommunicator::reduce(const std::string& name, torch::Tensor tensor, Reduce op) {
  if (size() > 1 && can_sum_directly(tensor, op)) return sum_directly(*queue_, name, std::move(tensor));
  auto operation = begin(name, static_cast<std::int64_t>(tensor.nbytes()));
  const int width = static_cast<int>(tensor.element_size());
  if (size() > 1)
    in_pieces(tensor, kReducePiece, [&](std::byte* data, int bytes) {
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(MPI_Iallreduce(MPI_IN_PLACE, data, bytes / width, mpi_type(tensor.scalar_type()), mpi_op(op),
                               queue_->comm(), &request),
                "MPI_Iallreduce");
      operation->requests.add(request, -1);
    });
  operation->kept.push_back(std::move(tensor));
  return operation;
}

std::shared_ptr<Operation> MpiCommunicator::spread(const std::string& name, torch::Tensor tensor, int root) {
  if (root < 0 || root >= size())
    throw CommError(name + ": there is no rank " + std::to_string(root) + " of " + std::to_string(size()));
  auto operation = begin(name, static_cast<std::int64_t>(tensor.nbytes()));
  if (size() > 1)
    in_pieces(tensor, kMessageBytes, [&](std::byte* data, int bytes) {
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(MPI_Ibcast(data, bytes, MPI_BYTE, root, queue_->comm(), &request), "MPI_Ibcast");
      operation->requests.add(request, -1);
    });
  operation->kept.push_back(std::move(tensor));
  return operation;
}

std::shared_ptr<Operation> MpiCommunicator::exchange(const std::string& name, std::vector<torch::Tensor> out,
                                                     std::vector<torch::Tensor> in) {
  std::int64_t bytes = 0;
  for (const auto& part : in) bytes += static_cast<std::int64_t>(part.nbytes());
  auto operation = begin(name, bytes);
  const Lane lane = queue_->lane(operation->sequence);
  const auto own = static_cast<std::size_t>(rank());
  if (out[own].data_ptr() != in[own].data_ptr()) out[own].copy_(in[own]);
  for (int step = 1; step < size(); ++step) {
    const int from = (rank() + size() - step) % size(), to = (rank() + step) % size();
    MPI_Request request = MPI_REQUEST_NULL;
    in_pieces(out[static_cast<std::size_t>(from)], kMessageBytes, [&](std::byte* data, int count) {
      check_mpi(MPI_Irecv(data, count, MPI_BYTE, from, lane.tag, lane.comm, &request), "MPI_Irecv");
      operation->requests.add(request, from);
    });
    in_pieces(in[static_cast<std::size_t>(to)], kMessageBytes, [&](std::byte* data, int count) {
      check_mpi(MPI_Isend(data, count, MPI_BYTE, to, lane.tag, lane.comm, &request), "MPI_Isend");
      operation->requests.add(request, to);
    });
  }
  operation->kept = std::move(out);
  operation->kept.insert(operation->kept.end(), in.begin(), in.end());
  return operation;
}

template <class T>
void MpiCommunicator::reduce_host(std::vector<T>& values, torch::ScalarType type, Reduce op) {
  // A copy that the operation owns: after a time-out MPI may still write, and the caller's vector may be gone.
  torch::Tensor copy = torch::empty({static_cast<std::int64_t>(values.size())}, type);
  const std::size_t bytes = values.size() * sizeof(T);
  if (bytes > 0) std::memcpy(copy.data_ptr(), values.data(), bytes);
  finish(reduce("all_reduce_host", copy, op));
  if (bytes > 0) std::memcpy(values.data(), copy.data_ptr(), bytes);
}

torch::Tensor tensor_of(const std::string& bytes) {
  torch::Tensor out = torch::empty({static_cast<std::int64_t>(bytes.size())}, torch::kUInt8);
  if (!bytes.empty()) std::memcpy(out.data_ptr(), bytes.data(), bytes.size());
  return out;
}

std::string string_of(const torch::Tensor& bytes) {
  return {static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes()};
}

std::vector<std::string> MpiCommunicator::gather_bytes(const std::string& bytes) {
  torch::Tensor sizes = torch::empty({size()}, torch::kInt64);
  finish(gather("gather_bytes", sizes.split(1), torch::full({1}, static_cast<std::int64_t>(bytes.size()))));
  std::vector<torch::Tensor> parts;
  parts.reserve(static_cast<std::size_t>(size()));
  for (int peer = 0; peer < size(); ++peer)
    parts.push_back(torch::empty({sizes[peer].item<std::int64_t>()}, torch::kUInt8));
  finish(gather("gather_bytes", parts, tensor_of(bytes)));
  std::vector<std::string> out;
  out.reserve(parts.size());
  for (const auto& part : parts) out.push_back(string_of(part));
  return out;
}

std::string MpiCommunicator::broadcast_bytes(const std::string& bytes, int root) {
  torch::Tensor length = torch::full({1}, static_cast<std::int64_t>(bytes.size()));
  finish(spread("broadcast_bytes", length, root));
  torch::Tensor content =
      rank() == root ? tensor_of(bytes) : torch::empty({length.item<std::int64_t>()}, torch::kUInt8);
  finish(spread("broadcast_bytes", content, root));
  return string_of(content);
}

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(const MpiSession&, CommunicatorOptions options) {
  return std::make_unique<MpiCommunicator>(std::make_shared<MpiQueue>(options.timeout));
}

}  // namespace decant::dist
