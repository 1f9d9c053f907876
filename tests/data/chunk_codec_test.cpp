#include "data/chunk_codec.h"

#include <gtest/gtest.h>

#include <array>

#include "data/hdf5_file.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;

std::vector<std::byte> bytes(std::size_t count, std::uint32_t seed) {
  std::vector<std::byte> out(count);
  for (std::byte& byte : out) byte = static_cast<std::byte>((seed = seed * 1664525U + 1013904223U) >> 24 & 0x3f);
  return out;
}

constexpr std::array kAll{ChunkFilter::kShuffle, ChunkFilter::kDeflate, ChunkFilter::kFletcher32};

TEST(ChunkCodec, GivesBackWhatWentIn) {
  for (const std::size_t count : {1, 2, 3, 7, 64, 4097})
    for (const std::size_t width : {1, 2, 4, 8})
      for (const ChunkFilters& filters :
           {ChunkFilters{}, ChunkFilters{ChunkFilter::kFletcher32}, ChunkFilters(kAll.begin(), kAll.end())}) {
        const auto plain = bytes(count, static_cast<std::uint32_t>(count));
        const auto decoded = decode_chunk(encode_chunk(plain, width, filters), width, filters, 0, count);
        EXPECT_EQ(decoded.error, "");
        EXPECT_EQ(decoded.plain, plain) << count << " bytes, elements of " << width;
      }
}

TEST(ChunkCodec, FindsEveryFlippedByte) {
  const ChunkFilters filters(kAll.begin(), kAll.end());
  const auto plain = bytes(300, 5);
  const auto encoded = encode_chunk(plain, 4, filters);
  for (std::size_t at = 0; at < encoded.size(); ++at) {
    auto damaged = encoded;
    damaged[at] ^= std::byte{0x10};
    EXPECT_EQ(decode_chunk(damaged, 4, filters, 0, 300).error, "its Fletcher32 checksum is wrong") << at;
  }
  EXPECT_NE(decode_chunk({}, 4, filters, 0, 300).error, "");
  EXPECT_NE(decode_chunk(encoded, 4, filters, 0, 299).error, "");
  EXPECT_NE(decode_chunk(encoded, 4, filters, 0, 400).error, "");
}

/// The library's own filters and ours read each other.
TEST(ChunkCodec, IsThatOfHdf5) {
  const TempFolder folder;
  const ChunkFilters filters(kAll.begin(), kAll.end());
  std::vector<std::uint32_t> values(1000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint32_t>(i * i * 7 % 5000);
  {
    Hdf5File file = Hdf5File::create(folder / "ours.h5");
    file.make_chunked("/x", Element::kU32, {250, 4}, 96, filters);
    for (std::int64_t chunk = 0; chunk < 3; ++chunk) {
      auto plain = std::as_bytes(std::span(values)).subspan(static_cast<std::size_t>(chunk) * 96 * 16);
      std::vector<std::byte> whole(
          plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(plain.size(), 96 * 16)));
      whole.resize(96 * 16);
      file.write_chunk("/x", chunk, encode_chunk(whole, 4, filters));
    }
    file.write("/y", std::span<const std::uint32_t>(values), 4, 96);  // the library's fletcher32
    file.close();
  }
  const Hdf5File file = Hdf5File::open(folder / "ours.h5");
  std::vector<std::uint32_t> read(values.size());
  file.read("/x", 0, std::span(read));
  EXPECT_EQ(read, values);
  EXPECT_EQ(file.layout("/x").filters, filters);
  EXPECT_TRUE(file.layout("/x").whole_rows);
  for (std::int64_t chunk = 0; chunk < 3; ++chunk) {
    const auto raw = file.read_chunk("/y", chunk, -1);
    const auto decoded = decode_chunk(raw.bytes, 4, file.layout("/y").filters, raw.skipped, 96 * 16);
    ASSERT_EQ(decoded.error, "");
    const std::size_t count = chunk == 2 ? (250 - 192) * 16 : 96 * 16;
    EXPECT_TRUE(std::equal(decoded.plain.begin(), decoded.plain.begin() + static_cast<std::ptrdiff_t>(count),
                           std::as_bytes(std::span(values)).begin() + chunk * 96 * 16));
  }
}

}  // namespace
}  // namespace decant::data
