// ranks.h5: what is written is read, the same bytes for the same ranks, and damage is found.
#include "data/rank_file.h"

#include <gtest/gtest.h>

#include <tuple>

#include "base/files.h"
#include "data/errors.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using testing_support::message_of;
using testing_support::TempFolder;

RankFile example() {
  RankFile file;
  file.side = "student";
  file.weights_hash = "0123456789abcdef";
  file.content_hash = "fedcba9876543210";
  for (std::uint32_t i = 0; i < 1000; ++i) {
    file.valid.rows.push_back(std::uint64_t{3} * i);
    file.valid.targets.push_back(i * 7 % 91);
    file.valid.all.push_back(i * 13 % 97);
    file.valid.unseen.push_back(i * 13 % 97 / 2);
  }
  file.test = file.valid;
  file.test.all[5] = 4000000000U;
  return file;
}

void expect_equal(const TargetRanks& a, const TargetRanks& b) {
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.targets, b.targets);
  EXPECT_EQ(a.all, b.all);
  EXPECT_EQ(a.unseen, b.unseen);
}

TEST(RankFile, ReadsWhatWasWritten) {
  TempFolder folder;
  const auto wanted = example();
  write_ranks(folder / "side" / "ranks.h5", wanted);
  const auto found = read_ranks(folder / "side" / "ranks.h5");
  EXPECT_EQ(found.side, wanted.side);
  EXPECT_EQ(found.weights_hash, wanted.weights_hash);
  EXPECT_EQ(found.content_hash, wanted.content_hash);
  expect_equal(found.valid, wanted.valid);
  expect_equal(found.test, wanted.test);
  write_ranks(folder / "again.h5", wanted);
  EXPECT_EQ(base::read_file(folder / "again.h5"), base::read_file(folder / "side" / "ranks.h5"));
  RankFile empty;
  empty.side = "popularity";
  write_ranks(folder / "empty.h5", empty);
  EXPECT_TRUE(read_ranks(folder / "empty.h5").valid.rows.empty());
}

TEST(RankFile, FindsDamage) {
  TempFolder folder;
  EXPECT_CONTAINS(message_of<DataError>([&] { static_cast<void>(read_ranks(folder / "none.h5")); }), "decant evaluate");
  const fs::path path = folder / "ranks.h5";
  RankFile small = example();
  for (TargetRanks* split : {&small.valid, &small.test}) {
    split->rows.resize(20);
    split->targets.resize(20);
    split->all.resize(20);
    split->unseen.resize(20);
  }
  write_ranks(path, small);
  const auto bytes = base::read_file(path);
  // A byte that nothing refers to may differ; what is read may not.
  const auto refused = [&] {
    try {
      const auto file = read_ranks(path);
      EXPECT_EQ(std::tie(file.side, file.weights_hash, file.content_hash),
                std::tie(small.side, small.weights_hash, small.content_hash));
      expect_equal(file.valid, small.valid);
      expect_equal(file.test, small.test);
      return false;
    } catch (const DataError& error) {
      EXPECT_CONTAINS(error.what(), path.string());
      return true;
    }
  };
  std::size_t found = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    testing_support::poke(path, at, static_cast<char>(bytes[at] ^ 0x10));
    found += refused();
    testing_support::poke(path, at, bytes[at]);
  }
  EXPECT_GT(found, bytes.size() / 4);
  for (std::size_t size = 0; size < bytes.size(); size += bytes.size() / 100 + 1) {
    testing_support::write_text(path, bytes.substr(0, size));
    EXPECT_TRUE(refused()) << "cut to " << size;
  }
  auto wrong = example();
  wrong.valid.rows[1] = wrong.valid.rows[0];
  write_ranks(folder / "wrong.h5", wrong);
  EXPECT_CONTAINS(message_of<DataError>([&] { static_cast<void>(read_ranks(folder / "wrong.h5")); }), "do not ascend");
}

}  // namespace
}  // namespace decant::data
