// The sum over ranks by direct exchange. Every rank owns one segment: it receives that segment from all the others,
// adds in rank order, and sends the sum back to them. Two dependent steps, whatever the number of ranks, so it gets
// far even when it is only polled now and then from gradient hooks; a ring would need 2 (ranks - 1).
// Measured with OpenMPI 4.1.4 in shared memory, 14 MB of float32, median ms on 2 ranks of 2 cores (4 ranks in
// brackets): this 1.7 (7.7), MPI_Allreduce 1.7 (7.0 to 9.8), MPI_Iallreduce in place 4.9 (9.8), in 1 MiB pieces
// 3.3 (7.1), MPI_Ireduce_scatter_block and MPI_Iallgather 4.5.
// bfloat16 goes this way at any size: MPI has no such type, and a sum that is rounded at every hop gets worse with every
// rank.
// Its limit: with many ranks a host, each of them talks to all others over the same network card.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "dist/errors.h"
#include "dist/mpi_internal.h"

namespace decant::dist {

namespace {

constexpr std::int64_t kLeastBytes = std::int64_t{16} << 10;

/// How an element travels and how it is added up.
template <class T>
struct Element {
  using Stored = T;
  using Sum = T;
  static Sum load(Stored value) { return value; }
  static Stored store(Sum value) { return value; }
};

/// Added up in float32 and rounded once, to nearest, ties to even.
struct Bfloat16 {
  using Stored = std::uint16_t;
  using Sum = float;
  static Sum load(Stored value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16); }
  static Stored store(Sum value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const std::uint32_t nan = bits >> 16 | 0x40;  // stays one, whatever its payload
    return static_cast<Stored>((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
  }
};

/// `out` = ((parts[0] + parts[1]) + parts[2]) + ..., which may be one of the parts.
template <class Kind>
void sum_elements(const std::vector<const std::byte*>& parts, std::byte* out, std::int64_t count) {
  constexpr std::int64_t kBlock = 2048;  // stays in the first-level cache
  std::array<typename Kind::Sum, kBlock> sums;
  const auto part = [&](std::size_t rank) { return reinterpret_cast<const typename Kind::Stored*>(parts[rank]); };
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t block = std::min(kBlock, count - begin);
    const auto* first = part(0) + begin;
    for (std::int64_t i = 0; i < block; ++i) sums[static_cast<std::size_t>(i)] = Kind::load(first[i]);
    for (std::size_t rank = 1; rank < parts.size(); ++rank) {
      const auto* next = part(rank) + begin;
      for (std::int64_t i = 0; i < block; ++i) sums[static_cast<std::size_t>(i)] += Kind::load(next[i]);
    }
    auto* to = reinterpret_cast<typename Kind::Stored*>(out) + begin;
    for (std::int64_t i = 0; i < block; ++i) to[i] = Kind::store(sums[static_cast<std::size_t>(i)]);
  }
}

using SumFunction = void (*)(const std::vector<const std::byte*>&, std::byte*, std::int64_t);

SumFunction sum_function(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat32:
      return sum_elements<Element<float>>;
    case torch::kFloat64:
      return sum_elements<Element<double>>;
    case torch::kInt64:
      return sum_elements<Element<std::uint64_t>>;  // wraps instead of being undefined, the same bits otherwise
    case torch::kBFloat16:
      return sum_elements<Bfloat16>;
    default:
      return nullptr;
  }
}

class DirectSum final : public Operation {
 public:
  DirectSum(MpiQueue& queue, const std::string& name, torch::Tensor tensor);
  bool advance() override;
  std::size_t messages() const override {
    return arrivals_.done() + parts_.done() + sums_in_.done() + sums_out_.done();
  }
  std::vector<int> missing() override;
  torch::Tensor take_scratch() override { return std::move(scratch_); }

 private:
  /// A run of elements of the tensor that travels as one message.
  struct Piece {
    int owner = 0;
    std::int64_t begin = 0, count = 0;
  };
  [[nodiscard]] std::int64_t segment_begin(int rank) const { return elements_ * rank / lane_.size; }
  [[nodiscard]] std::vector<Piece> pieces_of(int owner) const;
  [[nodiscard]] std::byte* at(std::int64_t element) const { return data_ + element * width_; }
  /// Where the part of `peer` of an own piece arrives.
  [[nodiscard]] std::byte* arrival(const Piece& piece, int peer) const;
  void post_arrivals();
  void post_parts();
  /// Adds up one own piece, all of whose parts have arrived, and sends it to everybody.
  void sum_piece(const Piece& piece);

  Lane lane_;
  torch::Tensor tensor_, scratch_;
  std::byte *data_, *room_ = nullptr;
  std::int64_t elements_, width_;
  SumFunction sum_;
  std::vector<Piece> own_, others_;
  RequestList arrivals_, parts_, sums_out_, sums_in_;
  std::size_t summed_ = 0;
  bool posted_ = false;
};

DirectSum::DirectSum(MpiQueue& queue, const std::string& name, torch::Tensor tensor)
    : Operation(name, queue.next_sequence(), static_cast<std::int64_t>(tensor.nbytes())),
      lane_(queue.lane(sequence)),
      tensor_(std::move(tensor)),
      data_(static_cast<std::byte*>(tensor_.data_ptr())),
      elements_(tensor_.numel()),
      width_(static_cast<std::int64_t>(tensor_.element_size())),
      sum_(sum_function(tensor_.scalar_type())),
      own_(pieces_of(lane_.rank)) {
  const std::int64_t segment = segment_begin(lane_.rank + 1) - segment_begin(lane_.rank);
  scratch_ = queue.scratch(segment * (lane_.size - 1) * width_);
  room_ = static_cast<std::byte*>(scratch_.data_ptr());
}

std::vector<DirectSum::Piece> DirectSum::pieces_of(int owner) const {
  std::vector<Piece> out;
  const std::int64_t most = kPieceBytes / width_, end = segment_begin(owner + 1);
  for (std::int64_t begin = segment_begin(owner); begin < end; begin += most)
    out.push_back({owner, begin, std::min(most, end - begin)});
  return out;
}

std::byte* DirectSum::arrival(const Piece& piece, int peer) const {
  const std::int64_t first = segment_begin(lane_.rank), segment = segment_begin(lane_.rank + 1) - first;
  const std::int64_t slot = peer < lane_.rank ? peer : peer - 1;
  return room_ + (slot * segment + piece.begin - first) * width_;
}

void DirectSum::post_arrivals() {
  for (const Piece& piece : own_)
    for (int peer = 0; peer < lane_.size; ++peer) {
      if (peer == lane_.rank) continue;
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(MPI_Irecv(arrival(piece, peer), static_cast<int>(piece.count * width_), MPI_BYTE, peer, lane_.tag,
                          lane_.comm, &request),
                "MPI_Irecv");
      arrivals_.add(request, peer);
    }
}

void DirectSum::post_parts() {
  // Each rank begins with its right neighbour, so that nobody is sent to by all at once.
  for (int step = 1; step < lane_.size; ++step)
    for (const Piece& piece : pieces_of((lane_.rank + step) % lane_.size)) {
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(MPI_Isend(at(piece.begin), static_cast<int>(piece.count * width_), MPI_BYTE, piece.owner, lane_.tag,
                          lane_.comm, &request),
                "MPI_Isend");
      parts_.add(request, piece.owner);
      others_.push_back(piece);
    }
}

void DirectSum::sum_piece(const Piece& piece) {
  std::byte* own = at(piece.begin);
  std::vector<const std::byte*> parts;
  for (int peer = 0; peer < lane_.size; ++peer) parts.push_back(peer == lane_.rank ? own : arrival(piece, peer));
  sum_(parts, own, piece.count);
  for (int step = 1; step < lane_.size; ++step) {
    const int peer = (lane_.rank + step) % lane_.size;
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(
        MPI_Isend(own, static_cast<int>(piece.count * width_), MPI_BYTE, peer, lane_.tag + 1, lane_.comm, &request),
        "MPI_Isend");
    sums_out_.add(request, peer);
  }
}

bool DirectSum::advance() {
  if (!std::exchange(posted_, true)) {  // not in the constructor: once posted, the queue must own the buffers
    post_arrivals();
    post_parts();
  }
  // The receive of a sum goes where the part was sent from, so it waits for that send.
  while (parts_.test_next()) {
    const Piece& piece = others_[parts_.done() - 1];
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Irecv(at(piece.begin), static_cast<int>(piece.count * width_), MPI_BYTE, piece.owner, lane_.tag + 1,
                        lane_.comm, &request),
              "MPI_Irecv");
    sums_in_.add(request, piece.owner);
  }
  const auto peers = static_cast<std::size_t>(lane_.size - 1);
  while (summed_ < own_.size()) {
    while (arrivals_.done() < (summed_ + 1) * peers && arrivals_.test_next()) {
    }
    if (arrivals_.done() < (summed_ + 1) * peers) break;
    sum_piece(own_[summed_++]);
  }
  const bool in = sums_in_.test_all(), out = sums_out_.test_all();
  return in && out && parts_.all_done() && summed_ == own_.size();
}

std::vector<int> DirectSum::missing() {
  // Who has not sent its part is the culprit; who has not sent a sum may itself be waiting for that one.
  std::vector<int> out;
  for (RequestList* list : {&arrivals_, &parts_, &sums_in_, &sums_out_}) {
    list->pending_peers(out);
    if (!out.empty()) break;
  }
  return out;
}

}  // namespace

bool can_sum_directly(const torch::Tensor& tensor, Reduce op) {
  if (op != Reduce::kSum || sum_function(tensor.scalar_type()) == nullptr) return false;
  return tensor.scalar_type() == torch::kBFloat16 || static_cast<std::int64_t>(tensor.nbytes()) >= kLeastBytes;
}

std::shared_ptr<Operation> sum_directly(MpiQueue& queue, const std::string& name, torch::Tensor tensor) {
  return std::make_shared<DirectSum>(queue, name, std::move(tensor));
}

}  // namespace decant::dist
