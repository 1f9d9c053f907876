#include "data/chunk_codec.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/errors.h"

namespace decant::data {
namespace {

constexpr std::size_t kSumBytes = 4;

/// All first bytes of the elements, then all second ones, ...; bytes that fill no element stay at the end.
std::vector<std::byte> shuffle(std::span<const std::byte> in, std::size_t width, bool back) {
  std::vector<std::byte> out(in.size());
  const std::size_t count = in.size() / width;
  for (std::size_t b = 0; b < width; ++b)
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t packed = i * width + b, apart = b * count + i;
      out[back ? packed : apart] = in[back ? apart : packed];
    }
  std::copy(in.begin() + static_cast<std::ptrdiff_t>(count * width), in.end(),
            out.begin() + static_cast<std::ptrdiff_t>(count * width));
  return out;
}

std::vector<std::byte> deflate(std::span<const std::byte> in) {
  uLongf size = compressBound(static_cast<uLong>(in.size()));
  std::vector<std::byte> out(size);
  if (compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(in.data()),
                static_cast<uLong>(in.size()), kDeflateLevel) != Z_OK)
    throw base::Error(base::ExitCode::kUnexpected, "zlib could not compress a chunk: is memory short?");
  out.resize(size);
  return out;
}

void append_sum(std::vector<std::byte>& bytes) {
  const std::uint32_t sum = fletcher32(bytes);
  for (std::size_t i = 0; i < kSumBytes; ++i) bytes.push_back(static_cast<std::byte>(sum >> (8 * i)));
}

/// Takes the checksum off; false when it is wrong.
bool remove_sum(std::vector<std::byte>& bytes) {
  if (bytes.size() < kSumBytes) return false;
  std::uint32_t stored = 0;
  for (std::size_t i = 0; i < kSumBytes; ++i)
    stored |= static_cast<std::uint32_t>(bytes[bytes.size() - kSumBytes + i]) << (8 * i);
  bytes.resize(bytes.size() - kSumBytes);
  return stored == fletcher32(bytes);
}

}  // namespace

std::uint32_t fletcher32(std::span<const std::byte> bytes) {
  constexpr std::uint32_t kModulus = 65535;
  std::uint64_t first = 0, second = 0;
  // Sums of fewer words than this fit 64 bits with room to spare; folding keeps a full 65,535 where a remainder would
  // give 0, as the filter does.
  constexpr std::size_t kRun = 1 << 14;
  const auto fold = [](std::uint64_t sum) {
    while (sum > kModulus) sum = (sum & kModulus) + (sum >> 16);
    return sum;
  };
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = std::min(bytes.size(), at + 2 * kRun);
    for (; at + 1 < end; at += 2) {
      first += static_cast<std::uint64_t>(bytes[at]) << 8 | static_cast<std::uint64_t>(bytes[at + 1]);
      second += first;
    }
    if (at < end) {  // an odd byte at the very end
      first += static_cast<std::uint64_t>(bytes[at++]) << 8;
      second += first;
    }
    first = fold(first), second = fold(second);
  }
  return static_cast<std::uint32_t>(second << 16 | first);
}

std::vector<std::byte> encode_chunk(std::span<const std::byte> plain, std::size_t element_bytes,
                                    const ChunkFilters& filters) {
  std::vector<std::byte> bytes(plain.begin(), plain.end());
  for (const ChunkFilter filter : filters) {
    if (filter == ChunkFilter::kShuffle) bytes = shuffle(bytes, element_bytes, false);
    if (filter == ChunkFilter::kDeflate) bytes = deflate(bytes);
    if (filter == ChunkFilter::kFletcher32) append_sum(bytes);
  }
  return bytes;
}

DecodedChunk decode_chunk(std::vector<std::byte> bytes, std::size_t element_bytes, const ChunkFilters& filters,
                          std::uint32_t skipped, std::size_t plain_bytes) {
  for (std::size_t i = filters.size(); i-- > 0;) {
    if ((skipped >> i & 1u) != 0) continue;
    if (filters[i] == ChunkFilter::kShuffle) bytes = shuffle(bytes, element_bytes, true);
    if (filters[i] == ChunkFilter::kFletcher32 && !remove_sum(bytes)) return {{}, "its Fletcher32 checksum is wrong"};
    if (filters[i] != ChunkFilter::kDeflate) continue;
    // What deflate gives is at most the plain bytes and a checksum of them.
    std::vector<std::byte> out(plain_bytes + kSumBytes);
    auto size = static_cast<uLongf>(out.size());
    if (uncompress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()),
                   static_cast<uLong>(bytes.size())) != Z_OK)
      return {{}, "it cannot be decompressed"};
    out.resize(size);
    bytes = std::move(out);
  }
  if (bytes.size() != plain_bytes) return {{}, "it has another size than its shape says"};
  return {std::move(bytes), ""};
}

}  // namespace decant::data
