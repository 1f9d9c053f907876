// Filters of a chunk, done outside of HDF5, whose one lock would let one thread at a time compress or decompress.
// The bytes are those that HDF5's own shuffle, deflate and fletcher32 make, so any HDF5 program reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace decant::data {

enum class ChunkFilter { kShuffle, kDeflate, kFletcher32 };

/// In the order in which they are applied in writing.
using ChunkFilters = std::vector<ChunkFilter>;

/// zlib's level of deflate.
inline constexpr int kDeflateLevel = 4;

/// `element_bytes`: of the type, for shuffle.
[[nodiscard]] std::vector<std::byte> encode_chunk(std::span<const std::byte> plain, std::size_t element_bytes,
                                                  const ChunkFilters& filters);

/// Why a chunk could not be decoded; the caller knows its file and row.
struct DecodedChunk {
  std::vector<std::byte> plain;
  std::string error;  // empty: fine
};

/// `skipped`: bit i set: filter i was not applied to this chunk. `plain_bytes`: what must come out.
[[nodiscard]] DecodedChunk decode_chunk(std::vector<std::byte> encoded, std::size_t element_bytes,
                                        const ChunkFilters& filters, std::uint32_t skipped, std::size_t plain_bytes);

/// The checksum of HDF5's fletcher32 filter: two sums modulo 65,535 over big-endian 16-bit words (Fletcher 1982).
[[nodiscard]] std::uint32_t fletcher32(std::span<const std::byte> bytes);

}  // namespace decant::data
