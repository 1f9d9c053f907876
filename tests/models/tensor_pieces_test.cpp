// Tensors dealt over files: who writes what, and reading it back.
#include "models/tensor_pieces.h"

#include <gtest/gtest.h>

#include <set>

#include "base/errors.h"
#include "models/exchange.h"
#include "tests/data/support.h"

namespace decant::models {
namespace {

using data::testing_support::message_of;
using data::testing_support::TempFolder;

/// As rank `rank` of `ranks` has it when rows are dealt over `shards`.
LogicalTensor dealt(const std::string& name, const torch::Tensor& whole, int rank, int shards) {
  LogicalTensor out = whole_tensor(name, whole);
  const int shard = rank % shards;
  out.here = whole.slice(0, shard, c10::nullopt, shards);
  out.first = shard;
  out.stride = shards;
  return out;
}

struct Whole {
  torch::Tensor table = torch::arange(23 * 3).to(torch::kFloat).view({23, 3});
  torch::Tensor wide = torch::arange(2'000'000).to(torch::kFloat).view({1000, 2000});
  torch::Tensor step = torch::tensor(7.0f), none = torch::zeros({0, 5}), flags = torch::arange(9) % 2 == 0;
  torch::Tensor moment = torch::arange(23 * 3).to(torch::kFloat64).view({23, 3}) * 0.5;

  [[nodiscard]] std::vector<LogicalTensor> on(int rank, int shards) const {
    return {whole_tensor("wide", wide),
            shards > 1 ? dealt("table", table, rank, shards) : whole_tensor("table", table),
            shards > 1 ? dealt("moment", moment, rank, shards) : whole_tensor("moment", moment),
            whole_tensor("step", step),
            whole_tensor("none", none),
            whole_tensor("flags", flags)};
  }
};

/// What a rank would write, and the list that a manifest holds.
std::vector<PiecedTensor> write(const Whole& whole, const std::filesystem::path& folder, int ranks, int shards) {
  const auto shares = deal_rows(whole.on(0, shards), ranks);
  std::vector<PiecedTensor> list;
  for (const auto& tensor : whole.on(0, shards))
    list.push_back({tensor.name, c10::toString(tensor.type), tensor.shape, {}});
  for (int rank = 0; rank < ranks; ++rank) {
    const auto tensors = whole.on(rank, shards);
    NamedTensors own;
    for (const auto& share : shares)
      if (share.rank == rank) own.emplace_back(tensors[share.tensor].name, rows_of(tensors[share.tensor], share));
    const std::string file = "rank-" + std::to_string(rank);
    const auto hashes = save_tensors(folder / file, whole_tensors(own), {});
    for (const auto& share : shares)
      if (share.rank == rank)
        list[share.tensor].pieces.push_back(
            {file, share.first, share.stride, share.rows, hashes.at(list[share.tensor].name)});
  }
  return list;
}

TEST(TensorPieces, EveryRowIsDealtOnce) {
  const Whole whole;
  for (const auto& [ranks, shards] : {std::pair(1, 1), {2, 1}, {3, 1}, {7, 1}, {2, 2}, {4, 2}, {6, 3}, {5, 5}}) {
    const auto tensors = whole.on(0, shards);
    std::vector<std::multiset<std::int64_t>> rows(tensors.size());
    std::vector<std::int64_t> bytes(static_cast<std::size_t>(ranks), 0);
    for (const auto& share : deal_rows(tensors, ranks)) {
      ASSERT_LT(share.rank, ranks);
      for (std::int64_t i = 0; i < share.rows; ++i) rows[share.tensor].insert(share.first + i * share.stride);
      if (share.tensor == 0) bytes[static_cast<std::size_t>(share.rank)] += share.rows;
    }
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      const std::int64_t all = tensors[t].shape.empty() ? 1 : tensors[t].shape[0];
      ASSERT_EQ(static_cast<std::int64_t>(rows[t].size()), all) << tensors[t].name << " of " << ranks;
      for (std::int64_t row = 0; row < all; ++row) ASSERT_EQ(rows[t].count(row), 1u);
    }
    const auto [least, most] = std::minmax_element(bytes.begin(), bytes.end());
    EXPECT_LE(*most - *least, 132) << "rows of 8 kB are dealt to within 1 MiB, " << ranks << " ranks";
  }
}

TEST(TensorPieces, AreReadWhatTheyWere) {
  const Whole whole;
  for (const auto& [ranks, shards] : {std::pair(1, 1), {3, 1}, {2, 2}, {4, 2}}) {
    TempFolder folder;
    const auto list = write(whole, folder.path(), ranks, shards);
    const NamedTensors room{{"wide", torch::zeros_like(whole.wide)},
                            {"table", torch::zeros_like(whole.table)},
                            {"moment", torch::zeros_like(whole.moment)},
                            {"step", torch::zeros({})},
                            {"none", torch::zeros({0, 5})},
                            {"flags", torch::zeros_like(whole.flags)}};
    load_pieces(folder.path(), list, whole_tensors(room));
    const auto tensors = whole.on(0, 1);
    for (std::size_t t = 0; t < room.size(); ++t)
      EXPECT_TRUE(room[t].second.equal(tensors[t].here)) << room[t].first << " of " << ranks << " ranks";
  }
}

TEST(TensorPieces, RowsThatNobodyHasAreFound) {
  const Whole whole;
  TempFolder folder;
  auto list = write(whole, folder.path(), 2, 2);
  const auto read = [&] {
    return message_of<base::FileError>([&] { load_pieces(folder.path(), list, {}, Surplus::kPassedOver); });
  };
  list[1].pieces.pop_back();
  EXPECT_CONTAINS(read(), "tensor 'table': its pieces have 12 of the 23 rows from row 0 on");
  list = write(whole, folder.path(), 2, 2);
  list[1].pieces[1].rows += 1;
  EXPECT_CONTAINS(read(), "tensor 'table' is Float[11, 3], not Float[12, 3] as its manifest says");
  list = write(whole, folder.path(), 2, 2);
  list[1].pieces[1].first = 0;
  EXPECT_CONTAINS(read(), "tensor 'table': two pieces have row 0");
  list = write(whole, folder.path(), 2, 2);
  list[1].pieces[1].stride = 0;
  EXPECT_CONTAINS(read(), "tensor 'table': a piece has no proper rows");
  list = write(whole, folder.path(), 2, 2);
  list[1].pieces.clear();
  EXPECT_CONTAINS(read(), "tensor 'table': it has no pieces");
}

}  // namespace
}  // namespace decant::models
