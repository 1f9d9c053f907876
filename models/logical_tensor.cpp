#include "models/logical_tensor.h"

#include <algorithm>
#include <memory>
#include <span>

#include "base/files.h"
#include "base/hash.h"
#include "models/weights_header.h"

namespace decant::models {

namespace {

using base::FileError;
namespace fs = std::filesystem;

constexpr std::size_t kLengthBytes = 8;

std::string_view bytes_of(const torch::Tensor& values) {
  return {static_cast<const char*>(values.const_data_ptr()), values.nbytes()};
}

std::span<const std::byte> span_of(const torch::Tensor& values) {
  return {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()};
}

/// Calls see(first, rows) for the runs of one tensor of a file.
void read_runs(const fs::path& path, WeightsReader& reader, const WeightsEntry& entry,
               const std::function<void(std::int64_t first, const torch::Tensor& rows)>& see) {
  const auto read = [&](std::int64_t first, std::vector<std::int64_t> shape) {
    const auto rows = torch::empty(shape, torch::dtype(entry.type));
    reader.read(rows.mutable_data_ptr(), rows.nbytes());
    check_values(path, entry.name, rows);
    see(first, rows);
  };
  if (entry.shape.empty()) return read(0, {});
  auto shape = entry.shape;
  const std::int64_t all = shape[0], most = run_rows(entry.type, shape);
  for (std::int64_t first = 0; first < all; first += most) {
    shape[0] = std::min(most, all - first);
    read(first, shape);
  }
}

const WeightsEntry* find_entry(const WeightsHeader& header, const std::string& name) {
  const auto at =
      std::find_if(header.entries.begin(), header.entries.end(), [&](const auto& entry) { return entry.name == name; });
  return at == header.entries.end() ? nullptr : &*at;
}

void check_targets(const fs::path& path, const WeightsHeader& header, const std::vector<LogicalTensor>& targets,
                   Surplus surplus) {
  for (const auto& target : targets) {
    const auto* entry = find_entry(header, target.name);
    if (entry == nullptr) throw FileError(path.string(), "it has no tensor '" + target.name + "'");
    if (entry->shape != target.shape || entry->type != target.type)
      throw FileError(path.string(), "tensor '" + target.name + "' is " + c10::toString(entry->type) +
                                         shape_text(entry->shape) + ", not " + c10::toString(target.type) +
                                         shape_text(target.shape));
  }
  if (surplus == Surplus::kPassedOver) return;
  for (const auto& entry : header.entries)
    if (std::none_of(targets.begin(), targets.end(), [&](const auto& target) { return target.name == entry.name; }))
      throw FileError(path.string(), "it has a tensor '" + entry.name + "' that is not wanted here");
}

/// In the order of the file.
std::vector<WeightsEntry> entries_of(std::vector<const LogicalTensor*>& tensors) {
  const auto entry_of = [](const LogicalTensor& tensor) {
    return WeightsEntry{tensor.name, tensor.type, tensor.shape};
  };
  std::sort(tensors.begin(), tensors.end(),
            [&](const auto* a, const auto* b) { return stands_before(entry_of(*a), entry_of(*b)); });
  std::vector<WeightsEntry> entries;
  std::uint64_t begin = 0;
  for (const auto* tensor : tensors) {
    entries.push_back(entry_of(*tensor));
    entries.back().begin = begin;
    begin += static_cast<std::uint64_t>(bytes_of_shape(tensor->type, tensor->shape));
    entries.back().end = begin;
  }
  return entries;
}

}  // namespace

LogicalTensor whole_tensor(std::string name, torch::Tensor tensor) {
  const torch::Tensor values = tensor.detach();
  LogicalTensor out;
  out.name = std::move(name);
  out.type = values.scalar_type();
  out.shape = values.sizes().vec();
  out.here = values;
  out.give = [values, most = run_rows(out.type, out.shape)](const LogicalTensor::Show& show) {
    const auto host = [](const torch::Tensor& part) { return part.to(torch::kCPU).contiguous(); };
    if (values.dim() == 0) return show(host(values));
    for (std::int64_t first = 0; first < values.size(0); first += most)
      show(host(values.narrow(0, first, std::min(most, values.size(0) - first))));
  };
  out.take = [values](std::int64_t first, const torch::Tensor& rows) {
    const torch::NoGradGuard no_grad;
    (values.dim() == 0 ? values : values.narrow(0, first, rows.size(0))).copy_(rows);
  };
  return out;
}

std::vector<LogicalTensor> whole_tensors(const NamedTensors& tensors) {
  std::vector<LogicalTensor> out;
  for (const auto& [name, tensor] : tensors) out.push_back(whole_tensor(name, tensor));
  return out;
}

TensorHashes save_tensors(const fs::path& path, const std::vector<LogicalTensor>& tensors,
                          const std::map<std::string, std::string>& metadata, bool writes) {
  std::vector<const LogicalTensor*> sorted;
  sorted.reserve(tensors.size());
  for (const auto& tensor : tensors) sorted.push_back(&tensor);
  const auto entries = entries_of(sorted);
  const std::string header = weights_header(path, entries, metadata);  // every rank finds the same faults
  TensorHashes hashes;
  if (!writes) {
    for (const auto* tensor : sorted) tensor->give([](const torch::Tensor&) {});
    return hashes;
  }
  base::FileWriter file(path);
  base::Hasher all;
  all.add(std::string_view(header));
  const std::uint64_t length = header.size();
  file.append({reinterpret_cast<const char*>(&length), kLengthBytes});
  file.append(header);
  for (const auto* tensor : sorted) {
    base::Hasher own;
    begin_hash(own, tensor->name, tensor->type, tensor->shape);
    tensor->give([&](const torch::Tensor& rows) {
      all.add(span_of(rows));
      own.add(span_of(rows));
      file.append(bytes_of(rows));
    });
    hashes[tensor->name] = own.hex();
  }
  file.overwrite(kLengthBytes + hash_digits_in(header), all.hex());
  file.commit();
  return hashes;
}

TensorHashes load_tensors(const fs::path& path, const std::vector<LogicalTensor>& targets, Surplus surplus) {
  WeightsReader reader(path);
  check_targets(path, reader.header(), targets, surplus);
  base::Hasher all;
  all.add(std::string_view(reader.header().text));
  TensorHashes hashes;
  for (const auto& entry : reader.header().entries) {
    const auto target =
        std::find_if(targets.begin(), targets.end(), [&](const auto& one) { return one.name == entry.name; });
    base::Hasher own;
    begin_hash(own, entry.name, entry.type, entry.shape);
    read_runs(path, reader, entry, [&](std::int64_t first, const torch::Tensor& rows) {
      all.add(span_of(rows));
      own.add(span_of(rows));
      if (target != targets.end()) target->take(first, rows);
    });
    hashes[entry.name] = own.hex();
  }
  reader.check_hash(all.hex());
  return hashes;
}

std::map<std::string, std::string> weights_metadata(const fs::path& path) {
  return WeightsReader(path).header().metadata;
}

std::map<std::string, std::vector<std::int64_t>> weights_shapes(const fs::path& path) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  const WeightsReader reader(path);
  for (const auto& entry : reader.header().entries) shapes[entry.name] = entry.shape;
  return shapes;
}

std::string hash_weights(const fs::path& path) {
  WeightsReader reader(path);
  base::Hasher all, tensors;
  all.add(std::string_view(reader.header().text));
  for (const auto& entry : reader.header().entries) {
    begin_hash(tensors, entry.name, entry.type, entry.shape);
    read_runs(path, reader, entry, [&](std::int64_t, const torch::Tensor& rows) {
      all.add(span_of(rows));
      tensors.add(span_of(rows));
    });
  }
  reader.check_hash(all.hex());
  return tensors.hex();
}

}  // namespace decant::models
