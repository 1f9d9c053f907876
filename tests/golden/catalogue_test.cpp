// The catalogue's operations against PyTorch's numbers, on both backends and over tiles of several sizes. Hidden states
// and table are multiples of 1/64, so logits are exact in any order of summation and ties are ties.
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include "models/ops/walk.h"
#include "models/table.h"
#include "tests/golden/golden_file.h"

namespace decant::golden {
namespace {

using models::WalkOptions;
using torch::Tensor;

constexpr double kTolerance = 1e-5;

struct Form {
  WalkOptions options;
  int threads = 1;
};

std::vector<Form> forms() {
  std::vector<Form> out;
  for (const auto* backend : {static_cast<const models::TileBackend*>(nullptr), &models::aten_tile_backend()})
    for (const auto& [tile, chunk] : {std::pair<std::int64_t, std::int64_t>{0, 0}, {1, 13}, {7, 4}, {32, 1}, {101, 5}})
      for (const int threads : {1, 3}) out.push_back({{tile, chunk, backend}, threads});
  return out;
}

std::string name_of(const Form& form) {
  return std::string(form.options.backend ? "ATen" : "default") + ", tiles of " +
         std::to_string(form.options.tile_items) + ", chunks of " + std::to_string(form.options.chunk_rows) + ", " +
         std::to_string(form.threads) + " threads";
}

class GoldenCatalogue : public testing::Test {
 protected:
  void TearDown() override { at::set_num_threads(threads_); }
  /// Visits every form of the walk.
  template <class Visit>
  static void over_forms(Visit visit) {
    for (const Form& form : forms()) {
      SCOPED_TRACE(name_of(form));
      at::set_num_threads(form.threads);
      visit(form.options);
    }
  }

  /// The gradients of sum(values * cotangents) are `<name>.grad_hidden` and `<name>.grad_table`.
  void expect_gradients(const std::string& name, const Tensor& hidden, const Tensor& table, const Tensor& sum) const {
    sum.backward();
    EXPECT_LT(relative(hidden.grad(), file_[name + ".grad_hidden"]), kTolerance);
    EXPECT_LT(relative(table.grad(), file_[name + ".grad_table"]), kTolerance);
  }

  [[nodiscard]] Tensor leaf(const std::string& name) const { return file_[name].clone().requires_grad_(); }

  const File file_{"catalogue"};
  const std::vector<float> read_ = values_of<float>(file_["temperatures"]);
  const std::vector<double> temperatures_{read_.begin(), read_.end()};
  const int threads_ = at::get_num_threads();
};

TEST_F(GoldenCatalogue, WalkOverAllItems) {
  over_forms([&](const WalkOptions& options) {
    const Tensor hidden = leaf("hidden"), table = leaf("table");
    const auto walked = models::walk_catalogue(hidden, table, {temperatures_, file_["gather"], 0}, options);
    EXPECT_LT(difference(walked.lse, file_["lse"]), kTolerance);
    EXPECT_TRUE(walked.logits.equal(file_["gathered"]));
    expect_gradients("plain", hidden, table,
                     (walked.lse * file_["lse_cotangent"]).sum() + (walked.logits * file_["gathered_cotangent"]).sum());
  });
}

TEST_F(GoldenCatalogue, WalkWithoutTheExcluded) {
  over_forms([&](const WalkOptions& options) {
    const Tensor hidden = leaf("hidden"), table = leaf("table");
    const Tensor ids = at::cat({file_["exclude"], file_["gather"]}, 1);
    const auto walked = models::walk_catalogue(hidden, table, {temperatures_, ids, 5}, options);
    EXPECT_LT(difference(walked.lse, file_["lse_excluded"]), kTolerance);
    EXPECT_TRUE(walked.logits.narrow(1, 0, 5).equal(file_["excluded_logits"]));
    EXPECT_TRUE(walked.logits.narrow(1, 5, 4).equal(file_["gathered"]));
    const Tensor cotangents = at::cat({file_["excluded_logits_cotangent"], file_["gathered_cotangent"]}, 1);
    expect_gradients("excluded", hidden, table,
                     (walked.lse * file_["lse_excluded_cotangent"]).sum() + (walked.logits * cotangents).sum());
  });
}

TEST_F(GoldenCatalogue, TopK) {
  over_forms([&](const WalkOptions& options) {
    const auto best =
        models::topk_catalogue(file_["hidden"], file_["table"], {5, temperatures_, file_["targets"]}, options);
    EXPECT_TRUE(best.ids.equal(file_["topk_ids"])) << best.ids << file_["topk_ids"];
    EXPECT_TRUE(best.logits.equal(file_["topk_logits"]));
    EXPECT_LT(difference(best.rest_lse, file_["topk_rest_lse"]), kTolerance);
    EXPECT_TRUE(best.target_logit.equal(file_["target_logits"]));
    EXPECT_TRUE(best.target_rank.equal(file_["rank_all"].to(torch::kFloat32)));
  });
}

TEST_F(GoldenCatalogue, Ranks) {
  auto offsets = values_of<std::int64_t>(file_["seen_offsets"]), ids = values_of<std::int64_t>(file_["seen_ids"]);
  // A row's seen items never hold its target: the dataset sees to that.
  const auto targets = values_of<std::int64_t>(file_["targets"]);
  std::vector<std::int64_t> kept, ends{0};
  for (std::size_t r = 0; r < targets.size(); ++r) {
    for (auto i = static_cast<std::size_t>(offsets[r]); i < static_cast<std::size_t>(offsets[r + 1]); ++i)
      if (ids[i] != targets[r]) kept.push_back(ids[i]);
    ends.push_back(static_cast<std::int64_t>(kept.size()));
  }
  Tensor seen = at::full({13, 101}, -1, torch::kInt64);
  for (std::size_t r = 0; r < targets.size(); ++r)
    for (std::int64_t i = ends[r]; i < ends[r + 1]; ++i)
      seen[static_cast<std::int64_t>(r)][i - ends[r]] = kept[static_cast<std::size_t>(i)];
  over_forms([&](const WalkOptions& options) {
    const auto ranks = models::rank_in_catalogue(file_["hidden"], file_["table"], file_["targets"], seen, options);
    EXPECT_TRUE(ranks.all.equal(file_["rank_all"]));
    EXPECT_TRUE(ranks.unseen.equal(file_["rank_unseen"])) << ranks.unseen << file_["rank_unseen"];
  });
  models::LocalTable table(101, 8, 1);
  const torch::NoGradGuard no_grad;
  table.weight.copy_(file_["table"]);
  const auto ranks = table.rank_of(file_["hidden"], file_["targets"], ends, kept);
  EXPECT_TRUE(ranks.all.equal(file_["rank_all"]));
  EXPECT_TRUE(ranks.unseen.equal(file_["rank_unseen"]));
  EXPECT_FALSE(table.rank_of(file_["hidden"], file_["targets"], {}, {}).unseen.defined());
}

}  // namespace
}  // namespace decant::golden
