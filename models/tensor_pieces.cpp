#include "models/tensor_pieces.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "base/hash.h"
#include "models/weights_header.h"

namespace decant::models {

namespace {

using base::FileError;
namespace fs = std::filesystem;

constexpr std::int64_t kLeastBytes = std::int64_t{1} << 20;

std::int64_t rows_in(const std::vector<std::int64_t>& shape) { return shape.empty() ? 1 : shape[0]; }

/// Deals what every rank has: ranks are filled in turn.
class EvenDeal {
 public:
  EvenDeal(const std::vector<LogicalTensor>& tensors, int ranks) : ranks_(ranks) {
    std::int64_t all = 0;
    for (const auto& tensor : tensors)
      if (tensor.stride == 1) all += bytes_of_shape(tensor.type, tensor.shape);
    quota_ = (all + ranks - 1) / ranks;
  }

  void take(const LogicalTensor& tensor, std::size_t place, std::vector<Share>& out) {
    const std::int64_t all = rows_in(tensor.shape), bytes = bytes_of_shape(tensor.type, tensor.shape);
    const std::int64_t row = std::max<std::int64_t>(1, bytes / std::max<std::int64_t>(1, all));
    for (std::int64_t first = 0, rows = 0; first < all || first == 0; first += rows) {
      if (rank_ + 1 < ranks_ && used_ >= quota_) ++rank_, used_ = 0;
      rows = rank_ + 1 < ranks_ ? (std::max(quota_ - used_, kLeastBytes) + row - 1) / row : all;
      rows = std::min(rows, all - first);
      out.push_back({place, rank_, first, 1, rows});
      used_ += rows * row;
      if (rows == 0) break;  // an empty tensor has one piece too
    }
  }

 private:
  int ranks_, rank_ = 0;
  std::int64_t quota_ = 0, used_ = 0;
};

/// Each rank what it has; ranks r, r + stride, ... have the same rows and take a run of them each.
void deal_own(const LogicalTensor& tensor, std::size_t place, int ranks, std::vector<Share>& out) {
  const auto stride = static_cast<int>(tensor.stride);
  const std::int64_t replicas = std::max(1, ranks / stride);
  for (int rank = 0; rank < stride * replicas; ++rank) {
    const std::int64_t shard = rank % stride, replica = rank / stride;
    const std::int64_t own = (tensor.shape[0] - shard + stride - 1) / stride;
    const std::int64_t begin = own * replica / replicas, end = own * (replica + 1) / replicas;
    if (end > begin) out.push_back({place, rank, shard + begin * stride, stride, end - begin});
  }
}

/// One file, read in the order of its tensors.
class PieceFile {
 public:
  explicit PieceFile(fs::path path) : path_(std::move(path)), reader_(path_) {
    all_.add(std::string_view(reader_.header().text));
  }
  PieceFile(const PieceFile&) = delete;

  [[nodiscard]] const WeightsEntry& entry(const std::string& name) const {
    const auto& entries = reader_.header().entries;
    const auto at = std::find_if(entries.begin(), entries.end(), [&](const auto& one) { return one.name == name; });
    if (at == entries.end()) throw FileError(path_.string(), "has no tensor '" + name + "', which its manifest lists");
    return *at;
  }

  void begin(const PiecedTensor& tensor, const TensorPiece& piece) {
    const auto& here = entry(tensor.name);
    if (next_ >= reader_.header().entries.size() || reader_.header().entries[next_++].name != tensor.name)
      throw FileError(path_.string(), "tensor '" + tensor.name + "' does not stand where its manifest has it");
    auto shape = tensor.shape;
    if (!shape.empty()) shape[0] = piece.rows;
    if (here.shape != shape || c10::toString(here.type) != tensor.type)
      throw FileError(path_.string(), "tensor '" + tensor.name + "' is " + c10::toString(here.type) +
                                          shape_text(here.shape) + ", not " + tensor.type + shape_text(shape) +
                                          " as its manifest says");
    own_.emplace();
    begin_hash(*own_, tensor.name, here.type, here.shape);
  }

  /// The next values of the tensor that was begun.
  void read(const std::string& name, const torch::Tensor& into) {
    const auto rows = into.is_contiguous() ? into : torch::empty(into.sizes(), into.options());
    reader_.read(rows.mutable_data_ptr(), rows.nbytes());
    check_values(path_, name, rows);
    const std::span bytes(static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes());
    all_.add(bytes);
    own_->add(bytes);
    if (!into.is_contiguous()) into.copy_(rows);
  }

  void end(const std::string& name, const std::string& hash) const {
    if (own_->hex() != hash)
      throw FileError(path_.string(), "tensor '" + name + "' is damaged (its hash differs from the manifest's)");
  }

  void finish() const {
    if (next_ < reader_.header().entries.size())
      throw FileError(path_.string(),
                      "has a tensor '" + reader_.header().entries[next_].name + "', which its manifest does not list");
    reader_.check_hash(all_.hex());
  }

 private:
  fs::path path_;  // declared first: the reader refers to it
  WeightsReader reader_;
  base::Hasher all_;
  std::optional<base::Hasher> own_;  // of the tensor that was begun
  std::size_t next_ = 0;
};

class Files {
 public:
  explicit Files(fs::path folder) : folder_(std::move(folder)) {}
  PieceFile& at(const std::string& name) {
    auto& file = files_[name];
    if (!file) file = std::make_unique<PieceFile>(folder_ / name);
    return *file;
  }
  void finish() const {
    for (const auto& [name, file] : files_) file->finish();
  }

 private:
  fs::path folder_;
  std::map<std::string, std::unique_ptr<PieceFile>> files_;
};

[[noreturn]] void absent(const fs::path& folder, const PiecedTensor& tensor, const std::string& what) {
  throw FileError(folder.string(), "tensor '" + tensor.name + "': " + what);
}

/// Fills `run`, rows from `first` on; `done` counts the rows of each piece that were read before.
void fill(Files& files, const fs::path& folder, const PiecedTensor& tensor, std::int64_t first,
          const torch::Tensor& run, std::vector<std::int64_t>& done) {
  const std::int64_t end = first + run.size(0);
  std::int64_t filled = 0;
  std::vector<bool> seen(static_cast<std::size_t>(run.size(0)), false);
  for (std::size_t p = 0; p < tensor.pieces.size(); ++p) {
    const auto& piece = tensor.pieces[p];
    if (piece.first < 0 || piece.stride < 1 || piece.rows < 0) absent(folder, tensor, "a piece has no proper rows");
    const std::int64_t begin = piece.first + done[p] * piece.stride;
    const std::int64_t until = piece.first >= end ? 0 : (end - piece.first + piece.stride - 1) / piece.stride;
    const std::int64_t rows = std::min(piece.rows, until) - done[p];
    if (rows <= 0) continue;
    if (begin < first) absent(folder, tensor, "two pieces have row " + std::to_string(begin));
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t row = begin + i * piece.stride;
      if (seen[static_cast<std::size_t>(row - first)])
        absent(folder, tensor, "two pieces have row " + std::to_string(row));
      seen[static_cast<std::size_t>(row - first)] = true;
    }
    files.at(piece.file)
        .read(tensor.name, run.slice(0, begin - first, begin - first + (rows - 1) * piece.stride + 1, piece.stride));
    done[p] += rows;
    filled += rows;
  }
  if (filled != run.size(0))
    absent(folder, tensor,
           "its pieces have " + std::to_string(filled) + " of the " + std::to_string(run.size(0)) + " rows from row " +
               std::to_string(first) + " on");
}

void read_tensor(Files& files, const fs::path& folder, const PiecedTensor& tensor, torch::ScalarType type,
                 const LogicalTensor* target) {
  for (const auto& piece : tensor.pieces) files.at(piece.file).begin(tensor, piece);
  const auto take = [&](std::int64_t first, const torch::Tensor& rows) {
    if (target != nullptr) target->take(first, rows);
  };
  auto shape = tensor.shape;
  if (shape.empty()) {
    const auto value = torch::empty({}, torch::dtype(type));
    files.at(tensor.pieces.front().file).read(tensor.name, value);
    take(0, value);
  } else {
    std::vector<std::int64_t> done(tensor.pieces.size(), 0);
    const std::int64_t all = shape[0], most = run_rows(type, shape);
    for (std::int64_t first = 0; first < all; first += most) {
      shape[0] = std::min(most, all - first);
      const auto run = torch::empty(shape, torch::dtype(type));
      fill(files, folder, tensor, first, run, done);
      take(first, run);
    }
  }
  for (const auto& piece : tensor.pieces) files.at(piece.file).end(tensor.name, piece.hash);
}

const LogicalTensor* find_target(const std::vector<LogicalTensor>& targets, const std::string& name) {
  const auto at = std::find_if(targets.begin(), targets.end(), [&](const auto& one) { return one.name == name; });
  return at == targets.end() ? nullptr : &*at;
}

void check_targets(const fs::path& folder, const std::vector<PiecedTensor>& tensors,
                   const std::vector<LogicalTensor>& targets, Surplus surplus) {
  for (const auto& target : targets) {
    const auto at =
        std::find_if(tensors.begin(), tensors.end(), [&](const auto& one) { return one.name == target.name; });
    if (at == tensors.end()) throw FileError(folder.string(), "it has no tensor '" + target.name + "'");
    if (at->shape != target.shape || at->type != c10::toString(target.type))
      absent(folder, *at,
             "it is " + at->type + shape_text(at->shape) + ", not " + c10::toString(target.type) +
                 shape_text(target.shape));
  }
  if (surplus == Surplus::kPassedOver) return;
  for (const auto& tensor : tensors)
    if (find_target(targets, tensor.name) == nullptr) absent(folder, tensor, "it is not wanted here");
}

}  // namespace

std::vector<Share> deal_rows(const std::vector<LogicalTensor>& tensors, int ranks) {
  std::vector<Share> out;
  EvenDeal even(tensors, ranks);
  for (std::size_t t = 0; t < tensors.size(); ++t)
    if (tensors[t].stride == 1)
      even.take(tensors[t], t, out);
    else
      deal_own(tensors[t], t, ranks, out);
  return out;
}

torch::Tensor rows_of(const LogicalTensor& tensor, const Share& share) {
  if (tensor.shape.empty()) return tensor.here;
  return tensor.here.narrow(0, (share.first - tensor.first) / tensor.stride, share.rows);
}

void load_pieces(const fs::path& folder, const std::vector<PiecedTensor>& tensors,
                 const std::vector<LogicalTensor>& targets, Surplus surplus) {
  check_targets(folder, tensors, targets, surplus);
  Files files(folder);
  std::vector<std::pair<WeightsEntry, const PiecedTensor*>> sorted;
  for (const auto& tensor : tensors) {
    if (tensor.pieces.empty()) absent(folder, tensor, "it has no pieces");
    const auto type = files.at(tensor.pieces.front().file).entry(tensor.name).type;
    sorted.emplace_back(WeightsEntry{tensor.name, type, {}}, &tensor);
  }
  // Every file has its tensors in this order, so each is read front to back.
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return stands_before(a.first, b.first); });
  for (const auto& [entry, tensor] : sorted)
    read_tensor(files, folder, *tensor, entry.type, find_target(targets, tensor->name));
  files.finish();
}

}  // namespace decant::models
