#include "dist/recorded_communicator.h"

#include <utility>

namespace decant::dist {

namespace {

using Kind = CollectiveKind;

std::int64_t bytes_of(const torch::Tensor& tensor) {
  return tensor.defined() ? static_cast<std::int64_t>(tensor.nbytes()) : 0;
}

/// A collective that throws stays open in the record: it is the one that failed.
class RecordedCommunicator final : public Communicator {
 public:
  RecordedCommunicator(std::unique_ptr<Communicator> inner, FlightRecorder& recorder)
      : inner_(std::move(inner)), recorder_(recorder) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string backend() const override { return inner_->backend(); }
  torch::Device device() const override { return inner_->device(); }
  double waited_seconds() const override { return inner_->waited_seconds(); }
  void stand_at(std::string_view place, std::int64_t step) override { recorder_.stand_at(place, step); }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, Reduce op) override {
    return started(Kind::kAllReduce, bytes_of(tensor), [&] { return inner_->all_reduce(std::move(tensor), op); });
  }
  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root) override {
    return started(Kind::kBroadcast, bytes_of(tensor), [&] { return inner_->broadcast(std::move(tensor), root); });
  }
  std::unique_ptr<Work> all_gather(torch::Tensor out, torch::Tensor in) override {
    return started(Kind::kAllGather, bytes_of(in), [&] { return inner_->all_gather(std::move(out), std::move(in)); });
  }
  std::unique_ptr<Work> all_to_all(torch::Tensor out, const std::vector<std::int64_t>& out_counts, torch::Tensor in,
                                   const std::vector<std::int64_t>& in_counts) override {
    return started(Kind::kAllToAll, bytes_of(in),
                   [&] { return inner_->all_to_all(std::move(out), out_counts, std::move(in), in_counts); });
  }
  /// Not recorded: the record is of collectives that all ranks meet in.
  std::unique_ptr<Communicator> split(int color) override { return inner_->split(color); }

  void barrier() override {
    const auto sequence = begin(Kind::kBarrier, 0);
    inner_->barrier();
    recorder_.finish(sequence);
  }
  void rendezvous() override {
    const auto sequence = begin(Kind::kRendezvous, 0);
    inner_->rendezvous();
    recorder_.finish(sequence);
  }
  void all_reduce_host(std::vector<double>& values, Reduce op) override { reduce_host(values, op); }
  void all_reduce_host(std::vector<std::int64_t>& values, Reduce op) override { reduce_host(values, op); }
  std::vector<std::string> gather_bytes(const std::string& bytes) override {
    const auto sequence = begin(Kind::kGatherBytes, static_cast<std::int64_t>(bytes.size()));
    auto out = inner_->gather_bytes(bytes);
    recorder_.finish(sequence);
    return out;
  }
  std::string broadcast_bytes(const std::string& bytes, int root) override {
    const auto sequence = begin(Kind::kBroadcastBytes, static_cast<std::int64_t>(bytes.size()));
    auto out = inner_->broadcast_bytes(bytes, root);
    recorder_.finish(sequence);
    return out;
  }

 private:
  template <class Call>
  std::unique_ptr<Work> started(Kind kind, std::int64_t bytes, Call call) {
    const auto sequence = recorder_.start(kind, bytes);
    auto work = call();
    work->record(recorder_, sequence);
    return work;
  }
  /// Of a collective that blocks.
  std::int64_t begin(Kind kind, std::int64_t bytes) {
    const auto sequence = recorder_.start(kind, bytes);
    recorder_.wait_begins(sequence);
    return sequence;
  }
  template <class T>
  void reduce_host(std::vector<T>& values, Reduce op) {
    const auto sequence = begin(Kind::kAllReduceHost, static_cast<std::int64_t>(values.size() * sizeof(T)));
    inner_->all_reduce_host(values, op);
    recorder_.finish(sequence);
  }

  std::unique_ptr<Communicator> inner_;
  FlightRecorder& recorder_;
};

}  // namespace

bool Work::test() {
  const bool done = do_test();
  if (done && recorder_ != nullptr) recorder_->finish(sequence_);
  return done;
}

void Work::wait() {
  if (recorder_ != nullptr) recorder_->wait_begins(sequence_);
  do_wait();
  if (recorder_ != nullptr) recorder_->finish(sequence_);
}

void Work::record(FlightRecorder& recorder, std::int64_t sequence) {
  recorder_ = &recorder;
  sequence_ = sequence;
}

std::unique_ptr<Communicator> make_recorded_communicator(std::unique_ptr<Communicator> inner,
                                                         FlightRecorder& recorder) {
  return std::make_unique<RecordedCommunicator>(std::move(inner), recorder);
}

}  // namespace decant::dist
