#include "base/hash.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace decant::base {
namespace {

// Values of xxHash's own XXH3_64bits (seed 0): a change here means that every stored checksum is lost.
TEST(Hash, IsPinned) {
  EXPECT_EQ(hash_hex(std::string_view("")), "2d06800538d394c2");
  EXPECT_EQ(hash_hex(std::string_view("decant")), hash_hex(std::as_bytes(std::span("decant", 6))));
  EXPECT_EQ(hash_hex(std::string_view("a")), "e6c632b61e964e1f");
  EXPECT_EQ(hash_hex(std::string_view("abc")), "78af5f94892f3950");
}

TEST(Hash, HexHasSixteenLowerCaseDigits) {
  EXPECT_EQ(to_hex(0), "0000000000000000");
  EXPECT_EQ(to_hex(0x0123456789abcdefull), "0123456789abcdef");
  EXPECT_EQ(to_hex(~0ull), "ffffffffffffffff");
}

TEST(Hasher, BytesInPiecesHashAsOne) {
  std::vector<std::byte> bytes;
  for (int i = 0; i < 5000; ++i) bytes.push_back(static_cast<std::byte>(i * 7));
  for (const std::size_t cut : {0, 1, 255, 256, 4999, 5000}) {
    Hasher hasher;
    hasher.add(std::span<const std::byte>(bytes).first(cut));
    hasher.add(std::span<const std::byte>(bytes).subspan(cut));
    EXPECT_EQ(hasher.hex(), hash_hex(bytes)) << cut;
    EXPECT_EQ(hasher.hex(), to_hex(hasher.value()));
  }
}

TEST(Hasher, TextsAreSeparated) {
  const auto of = [](std::vector<std::string_view> texts) {
    Hasher hasher;
    for (const auto text : texts) hasher.add(text);
    return hasher.value();
  };
  const std::set<std::uint64_t> distinct{of({"ab", "c"}), of({"a", "bc"}), of({"abc"}), of({"abc", ""}), of({})};
  EXPECT_EQ(distinct.size(), 5u);
  EXPECT_EQ(of({"ab", "c"}), of({"ab", "c"}));
}

// The length goes in as eight little-endian bytes, then the text.
TEST(Hasher, TextLayoutIsPinned) {
  Hasher hasher;
  hasher.add(std::string_view("abc"));
  EXPECT_EQ(hasher.hex(), hash_hex(std::string_view("\x03\0\0\0\0\0\0\0abc", 11)));
}

}  // namespace
}  // namespace decant::base
