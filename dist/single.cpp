#include "dist/communicator.h"
#include "dist/errors.h"
#include "dist/tensor_checks.h"

namespace decant::dist {

namespace {

class DoneWork final : public Work {
 public:
  bool do_test() override { return true; }
  void do_wait() override {}
};

void check_root(int root, const char* operation) {
  if (root != 0) throw CommError(std::string(operation) + ": there is no rank " + std::to_string(root) + " of 1");
}

/// One process: every collective is what it is among one rank. The checks are those of the other backends, so that a
/// mistake shows before a cluster is asked.
class SingleCommunicator final : public Communicator {
 public:
  explicit SingleCommunicator(torch::Device device) : device_(device) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string backend() const override { return "single"; }
  torch::Device device() const override { return device_; }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, Reduce op) override {
    check_reduce(tensor, op, device_);
    return std::make_unique<DoneWork>();
  }
  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root) override {
    check_tensor(tensor, device_, "broadcast");
    check_root(root, "broadcast");
    return std::make_unique<DoneWork>();
  }
  std::unique_ptr<Work> all_gather(torch::Tensor out, torch::Tensor in) override {
    check_gather(out, in, 1, device_);
    if (out.data_ptr() != in.data_ptr()) out.detach().view({-1}).copy_(in.detach().view({-1}));
    return std::make_unique<DoneWork>();
  }
  std::unique_ptr<Work> all_to_all(torch::Tensor out, const std::vector<std::int64_t>& out_counts, torch::Tensor in,
                                   const std::vector<std::int64_t>& in_counts) override {
    check_all_to_all(out, out_counts, in, in_counts, 1, device_);
    if (out.data_ptr() != in.data_ptr()) out.detach().view({-1}).copy_(in.detach().view({-1}));
    return std::make_unique<DoneWork>();
  }
  std::unique_ptr<Communicator> split(int) override { return make_single_communicator(device_); }

  void barrier() override {}
  void rendezvous() override {}
  void all_reduce_host(std::vector<double>&, Reduce) override {}
  void all_reduce_host(std::vector<std::int64_t>&, Reduce) override {}
  std::vector<std::string> gather_bytes(const std::string& bytes) override { return {bytes}; }
  std::string broadcast_bytes(const std::string& bytes, int root) override {
    check_root(root, "broadcast_bytes");
    return bytes;
  }
  double waited_seconds() const override { return 0; }

 private:
  torch::Device device_;
};

}  // namespace

std::unique_ptr<Communicator> make_single_communicator(torch::Device device) {
  return std::make_unique<SingleCommunicator>(device);
}

}  // namespace decant::dist
