#include "models/weights_header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>
#include <tuple>

#include "base/errors.h"
#include "base/files.h"
#include "base/options.h"

namespace decant::models {

namespace {

using base::FileError;
using base::Json;
namespace fs = std::filesystem;
using Entry = WeightsEntry;

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

[[noreturn]] void damaged(const fs::path& path, const std::string& why) {
  throw FileError(path.string(), "not a whole safetensors file: " + why);
}

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

/// The hash that the file carries, or "". A file of ours that lost it is damaged.
std::string carried_hash(const fs::path& path, WeightsHeader& header) {
  const auto hash = header.metadata.find(kHashKey);
  const auto writer = header.metadata.find(kWriterKey);
  if (hash == header.metadata.end()) {
    if (writer != header.metadata.end() && writer->second == kWriter) damaged(path, "its hash is missing");
    return "";
  }
  const std::size_t digits = hash_digits_in(header.text);
  if (digits != std::string::npos) header.text.replace(digits, kHashDigits, kHashDigits, '0');
  return hash->second;
}

}  // namespace

std::string shape_text(at::IntArrayRef shape) {
  std::string out = "[";
  for (const std::int64_t size : shape) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(size);
  }
  out += "]";
  return out;
}

void begin_hash(base::Hasher& hasher, const std::string& name, torch::ScalarType type, at::IntArrayRef shape) {
  hasher.add(std::string_view(name));
  hasher.add(std::string_view(c10::toString(type)));
  hasher.add(std::string_view(shape_text(shape)));
}

std::int64_t bytes_of_shape(torch::ScalarType type, at::IntArrayRef shape) {
  return c10::multiply_integers(shape) * static_cast<std::int64_t>(c10::elementSize(type));
}

std::int64_t run_rows(torch::ScalarType type, const std::vector<std::int64_t>& shape) {
  constexpr std::int64_t kRunBytes = std::int64_t{8} << 20;
  const std::int64_t row = shape.empty() ? 1 : bytes_of_shape(type, at::IntArrayRef(shape).slice(1));
  return std::max<std::int64_t>(1, kRunBytes / std::max<std::int64_t>(1, row));
}

// Quotes inside JSON strings are escaped, so nothing else looks like this key.
std::size_t hash_digits_in(const std::string& header) {
  const std::string key = std::string("\"") + kHashKey + "\":\"";
  const std::size_t at = header.find(key);
  if (at == std::string::npos || at + key.size() + kHashDigits >= header.size()) return std::string::npos;
  return header[at + key.size() + kHashDigits] == '"' ? at + key.size() : std::string::npos;
}

bool stands_before(const WeightsEntry& a, const WeightsEntry& b) {
  const auto size = [](const WeightsEntry& entry) { return static_cast<std::int64_t>(c10::elementSize(entry.type)); };
  return std::make_tuple(-size(a), std::cref(a.name).get()) < std::make_tuple(-size(b), std::cref(b.name).get());
}

std::string weights_header(const fs::path& path, const std::vector<WeightsEntry>& entries,
                           std::map<std::string, std::string> metadata) {
  metadata[kWriterKey] = kWriter;
  metadata[kHashKey] = std::string(kHashDigits, '0');
  Json header = Json::object();
  header[kMetadata] = metadata;
  for (const auto& entry : entries) {
    const Kind* kind = kind_of(entry.type);
    if (kind == nullptr)
      throw FileError(path.string(), "tensor '" + entry.name + "' has a dtype without a name in safetensors");
    if (header.contains(entry.name)) throw FileError(path.string(), "two tensors would be named '" + entry.name + "'");
    header[entry.name] = {{"dtype", kind->name}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  try {
    std::string text = header.dump();
    text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
    return text;
  } catch (const Json::exception&) {
    throw FileError(path.string(), "a tensor's name or the metadata is not UTF-8");
  }
}

void check_values(const fs::path& path, const std::string& name, const torch::Tensor& values) {
  if (values.scalar_type() != torch::kBool) return;
  const auto* bytes = static_cast<const unsigned char*>(values.const_data_ptr());
  if (std::any_of(bytes, bytes + values.numel(), [](unsigned char byte) { return byte > 1; }))
    damaged(path, "tensor '" + name + "' has bytes that are no truth values");
}

WeightsReader::WeightsReader(const fs::path& path) : path_(path), stream_(path, std::ios::binary) {
  std::error_code error;
  left_ = fs::file_size(path, error);
  if (error) throw FileError(path.string(), "cannot read: " + error.message());
  if (!stream_) throw FileError(path.string(), std::string("cannot read: ") + std::strerror(errno));
  header_.text = read_text();
  const Json parsed = parse_header(path, header_.text);
  if (parsed.contains(kMetadata)) header_.metadata = read_metadata(path, parsed[kMetadata]);
  header_.entries = read_entries(path, parsed, left_);
  header_.hash = carried_hash(path, header_);
}

void WeightsReader::read(void* to, std::uint64_t bytes) {
  if (bytes > left_) damaged(path_, "it is cut short");
  if (bytes > 0 && !stream_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes))) {
    throw FileError(path_.string(), "cannot read: it changed or the disk failed");
  }
  left_ -= bytes;
}

std::string WeightsReader::read_text() {
  std::uint64_t length = 0;
  read(&length, kLengthBytes);
  if (length > kMaxHeaderBytes || length > left_) damaged(path_, "it has no header of the length it gives");
  std::string text(length, '\0');
  read(text.data(), length);
  return text;
}

void WeightsReader::check_hash(const std::string& hex) const {
  if (header_.hash.empty() || header_.hash == hex) return;
  throw FileError(path_.string(),
                  "its bytes do not fit its xxh3: it is damaged, or was rewritten by a program that kept "
                  "decant's 'xxh3' and 'writer' in the metadata (drop both there)");
}

}  // namespace decant::models
