#include "models/weights_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <set>
#include <span>
#include <tuple>

#include "base/files.h"
#include "base/hash.h"

namespace decant::models {

namespace {

using base::FileError;
using base::Json;
namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "weights are written as they lie in memory");

constexpr const char* kMetadata = "__metadata__";
constexpr const char* kHashKey = "xxh3";
constexpr const char* kWriterKey = "writer";
constexpr const char* kWriter = "decant";
constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kHashDigits = 16;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's limit
constexpr std::size_t kMaxDimensions = 64;
constexpr std::int64_t kMaxBytes = std::int64_t{1} << 62;
constexpr int kMaxDepth = 3;  // header, tensor, shape

struct Kind {
  const char* name;
  torch::ScalarType type;
};
constexpr std::array kKinds{Kind{"F64", torch::kDouble},    Kind{"F32", torch::kFloat},  Kind{"F16", torch::kHalf},
                            Kind{"BF16", torch::kBFloat16}, Kind{"I64", torch::kLong},   Kind{"I32", torch::kInt},
                            Kind{"I16", torch::kShort},     Kind{"I8", torch::kChar},    Kind{"U64", torch::kUInt64},
                            Kind{"U32", torch::kUInt32},    Kind{"U16", torch::kUInt16}, Kind{"U8", torch::kByte},
                            Kind{"BOOL", torch::kBool}};

const Kind* kind_of(torch::ScalarType type) {
  const auto at = std::find_if(kKinds.begin(), kKinds.end(), [&](const Kind& kind) { return kind.type == type; });
  return at == kKinds.end() ? nullptr : &*at;
}

const Kind* kind_of(const std::string& name) {
  const auto at = std::find_if(kKinds.begin(), kKinds.end(), [&](const Kind& kind) { return kind.name == name; });
  return at == kKinds.end() ? nullptr : &*at;
}

std::string shape_text(at::IntArrayRef shape) {
  std::string out = "[";
  for (const std::int64_t size : shape) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(size);
  }
  out += "]";
  return out;
}

std::span<const std::byte> bytes_of(const torch::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

/// CPU, contiguous, ordered by element size (largest first), then name.
NamedTensors ordered(const fs::path& path, const NamedTensors& tensors) {
  NamedTensors out;
  std::set<std::string> names{kMetadata};
  for (const auto& [name, tensor] : tensors) {
    if (!names.insert(name).second) throw FileError(path.string(), "two tensors would be named '" + name + "'");
    if (kind_of(tensor.scalar_type()) == nullptr) {
      throw FileError(path.string(), "tensor '" + name + "' has a dtype without a name in safetensors");
    }
    out.emplace_back(name, tensor.detach().to(torch::kCPU).contiguous());
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::make_tuple(-a.second.element_size(), std::cref(a.first).get()) <
           std::make_tuple(-b.second.element_size(), std::cref(b.first).get());
  });
  return out;
}

/// Where the digits of the hash stand in a header that we wrote, or npos. Quotes inside JSON strings are escaped, so
/// nothing else looks like this key.
std::size_t find_digits(const std::string& header) {
  const std::string key = std::string("\"") + kHashKey + "\":\"";
  const std::size_t at = header.find(key);
  if (at == std::string::npos || at + key.size() + kHashDigits >= header.size()) return std::string::npos;
  return header[at + key.size() + kHashDigits] == '"' ? at + key.size() : std::string::npos;
}

std::string header_text(const fs::path& path, const NamedTensors& tensors,
                        const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  header[kMetadata] = metadata;
  std::size_t begin = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", kind_of(tensor.scalar_type())->name},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {begin, begin + tensor.nbytes()}}};
    begin += tensor.nbytes();
  }
  try {
    std::string text = header.dump();
    text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
    return text;
  } catch (const Json::exception&) {
    throw FileError(path.string(), "a tensor's name or the metadata is not UTF-8");
  }
}

[[noreturn]] void damaged(const fs::path& path, const std::string& why) {
  throw FileError(path.string(), "not a whole safetensors file: " + why);
}

/// What the header says of one tensor.
struct Entry {
  std::string name;
  torch::ScalarType type;
  std::vector<std::int64_t> shape;
  std::uint64_t begin, end;
};

std::uint64_t natural(const fs::path& path, const std::string& name, const Json& value) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxBytes)) {
    damaged(path, "tensor '" + name + "' has a size or an offset that is no number in range");
  }
  return value.get<std::uint64_t>();
}

Entry read_entry(const fs::path& path, const std::string& name, const Json& value) {
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets") || !value["dtype"].is_string() || !value["shape"].is_array() ||
      !value["data_offsets"].is_array() || value["data_offsets"].size() != 2 ||
      value["shape"].size() > kMaxDimensions) {
    damaged(path, "tensor '" + name + "' lacks a proper dtype, shape or data_offsets");
  }
  const auto dtype = value["dtype"].get<std::string>();
  const Kind* kind = kind_of(dtype);
  if (kind == nullptr) throw FileError(path.string(), "tensor '" + name + "' has the unknown dtype '" + dtype + "'");
  Entry entry{name,
              kind->type,
              {},
              natural(path, name, value["data_offsets"][0]),
              natural(path, name, value["data_offsets"][1])};
  auto bytes = static_cast<std::int64_t>(c10::elementSize(kind->type)), strides = bytes;
  for (const Json& dimension : value["shape"]) {
    const auto size = static_cast<std::int64_t>(natural(path, name, dimension));
    // Strides count an empty dimension as one, and must not overflow either.
    if (__builtin_mul_overflow(strides, std::max<std::int64_t>(size, 1), &strides) || strides > kMaxBytes) {
      damaged(path, "tensor '" + name + "' is too large");
    }
    bytes *= size;
    entry.shape.push_back(size);
  }
  if (entry.begin > entry.end || entry.end - entry.begin != static_cast<std::uint64_t>(bytes)) {
    damaged(path, "tensor '" + name + "' has " + std::to_string(bytes) + " bytes by its shape, not those of its range");
  }
  return entry;
}

Json parse_header(const fs::path& path, const std::string& text) {
  std::set<std::string> names;
  const auto look = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) damaged(path, "the header is nested too deeply");
    if (depth == 1 && event == Json::parse_event_t::key && !names.insert(parsed.get<std::string>()).second) {
      damaged(path, "two tensors are named '" + parsed.get<std::string>() + "'");
    }
    return true;
  };
  try {
    Json header = Json::parse(text, look);
    if (!header.is_object()) damaged(path, "the header is no JSON object");
    return header;
  } catch (const Json::exception& error) {
    damaged(path, std::string("the header is no JSON (") + error.what() + ")");
  }
}

std::map<std::string, std::string> read_metadata(const fs::path& path, const Json& value) {
  std::map<std::string, std::string> out;
  if (!value.is_object()) damaged(path, "the metadata is no JSON object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) damaged(path, "the metadata '" + key + "' is no text");
    out[key] = text.get<std::string>();
  }
  return out;
}

/// In the order of their bytes, which must follow each other without holes up to the end of the file.
std::vector<Entry> read_entries(const fs::path& path, const Json& header, std::uint64_t data_bytes) {
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name != kMetadata) entries.push_back(read_entry(path, name, value));
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  std::uint64_t end = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != end) damaged(path, "tensor '" + entry.name + "' leaves a hole or overlaps another");
    end = entry.end;
  }
  if (end != data_bytes) {
    damaged(path, "its tensors need " + std::to_string(end) + " bytes of data, it has " + std::to_string(data_bytes));
  }
  return entries;
}

/// Reads front to back, each tensor into its own memory.
class Reader {
 public:
  explicit Reader(const fs::path& path) : path_(path), stream_(path, std::ios::binary) {
    std::error_code error;
    left_ = fs::file_size(path, error);
    if (error) throw FileError(path.string(), "cannot read: " + error.message());
    if (!stream_) throw FileError(path.string(), std::string("cannot read: ") + std::strerror(errno));
  }
  [[nodiscard]] std::uint64_t left() const { return left_; }
  void read(void* to, std::uint64_t bytes) {
    if (bytes > left_) damaged(path_, "it is cut short");
    if (bytes > 0 && !stream_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes))) {
      throw FileError(path_.string(), "cannot read: it changed or the disk failed");
    }
    left_ -= bytes;
  }
  [[nodiscard]] std::string header() {
    std::uint64_t length = 0;
    read(&length, kLengthBytes);
    if (length > kMaxHeaderBytes || length > left_) damaged(path_, "it has no header of the length it gives");
    std::string text(length, '\0');
    read(text.data(), length);
    return text;
  }

 private:
  const fs::path& path_;
  std::ifstream stream_;
  std::uint64_t left_ = 0;
};

torch::Tensor read_tensor(const fs::path& path, Reader& reader, const Entry& entry, base::Hasher& hasher) {
  torch::Tensor tensor = torch::empty(entry.shape, torch::dtype(entry.type));
  reader.read(tensor.mutable_data_ptr(), tensor.nbytes());
  const auto bytes = bytes_of(tensor);
  hasher.add(bytes);
  if (entry.type == torch::kBool &&
      std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; })) {
    damaged(path, "tensor '" + entry.name + "' has bytes that are no truth values");
  }
  return tensor;
}

/// The hash that the file carries, or "". A file of ours that lost it is damaged.
std::string carried_hash(const fs::path& path, const WeightsFile& file, std::string& header) {
  const auto hash = file.metadata.find(kHashKey);
  const auto writer = file.metadata.find(kWriterKey);
  if (hash == file.metadata.end()) {
    if (writer != file.metadata.end() && writer->second == kWriter) damaged(path, "its hash is missing");
    return "";
  }
  const std::size_t digits = find_digits(header);
  if (digits != std::string::npos) header.replace(digits, kHashDigits, kHashDigits, '0');
  return hash->second;
}

}  // namespace

void save_weights(const fs::path& path, const NamedTensors& tensors, std::map<std::string, std::string> metadata) {
  const NamedTensors sorted = ordered(path, tensors);
  metadata[kWriterKey] = kWriter;
  metadata[kHashKey] = std::string(kHashDigits, '0');
  std::string header = header_text(path, sorted, metadata);
  base::Hasher hasher;
  hasher.add(std::string_view(header));
  std::size_t total = kLengthBytes + header.size();
  for (const auto& [name, tensor] : sorted) {
    hasher.add(bytes_of(tensor));
    total += tensor.nbytes();
  }
  header.replace(find_digits(header), kHashDigits, hasher.hex());
  const std::uint64_t length = header.size();
  std::string content;
  content.reserve(total);
  content.append(reinterpret_cast<const char*>(&length), kLengthBytes).append(header);
  for (const auto& [name, tensor] : sorted) {
    content.append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  }
  base::write_file(path, content);
}

WeightsFile load_weights(const fs::path& path) {
  Reader reader(path);
  std::string text = reader.header();
  const Json header = parse_header(path, text);
  WeightsFile file;
  if (header.contains(kMetadata)) file.metadata = read_metadata(path, header[kMetadata]);
  const std::vector<Entry> entries = read_entries(path, header, reader.left());
  const std::string carried = carried_hash(path, file, text);
  base::Hasher hasher;
  hasher.add(std::string_view(text));
  for (const Entry& entry : entries) file.tensors.emplace_back(entry.name, read_tensor(path, reader, entry, hasher));
  if (!carried.empty() && carried != hasher.hex()) {
    throw FileError(path.string(),
                    "its bytes do not fit its xxh3: it is damaged, or was rewritten by a program that kept "
                    "decant's 'xxh3' and 'writer' in the metadata (drop both there)");
  }
  return file;
}

void copy_weights(const WeightsFile& file, const fs::path& path, const NamedTensors& targets) {
  std::map<std::string, torch::Tensor> found(file.tensors.begin(), file.tensors.end());
  for (const auto& [name, target] : targets) {
    const auto at = found.find(name);
    if (at == found.end()) throw FileError(path.string(), "it has no tensor '" + name + "'");
    if (at->second.sizes() != target.sizes() || at->second.scalar_type() != target.scalar_type()) {
      throw FileError(path.string(), "tensor '" + name + "' is " + c10::toString(at->second.scalar_type()) +
                                         shape_text(at->second.sizes()) + ", not " +
                                         c10::toString(target.scalar_type()) + shape_text(target.sizes()));
    }
  }
  if (found.size() > targets.size()) {
    for (const auto& [name, target] : targets) found.erase(name);
    throw FileError(path.string(), "it has a tensor '" + found.begin()->first + "' that is not wanted here");
  }
  const torch::NoGradGuard no_grad;
  for (const auto& [name, target] : targets) torch::Tensor(target).copy_(found.at(name));
}

std::string hash_tensors(const NamedTensors& tensors) {
  base::Hasher hasher;
  for (const auto& [name, tensor] : tensors) {
    const torch::Tensor values = tensor.detach().to(torch::kCPU).contiguous();
    hasher.add(std::string_view(name));
    hasher.add(std::string_view(c10::toString(values.scalar_type())));
    hasher.add(std::string_view(shape_text(values.sizes())));
    hasher.add(bytes_of(values));
  }
  return hasher.hex();
}

}  // namespace decant::models
