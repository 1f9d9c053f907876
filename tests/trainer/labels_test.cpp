#include "trainer/labels/label_kind.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/logsumexp.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "tests/trainer/support.h"
#include "trainer/errors.h"
#include "trainer/labels/shares.h"

namespace decant::trainer {
namespace {

using namespace testing_support;
using data::Element;
using torch::Tensor;

constexpr std::int64_t kItems = 50, kDim = 8, kLength = 6;

/// A teacher of random vectors, and what it says of every item.
class Kinds : public testing::Test {
 protected:
  Kinds() : table_(kItems, kDim, 3) {
    data::testing_support::write_rows(folder_ / "dataset", data::testing_support::ragged_rows(60));
    dataset_ = std::make_unique<data::Dataset>(folder_ / "dataset");
    torch::manual_seed(7);
    const torch::NoGradGuard no_grad;
    table_.weight.normal_();
    use_rows({5, 6, 7, 8, 9, 10, 11, 17, 18});
  }

  void use_rows(const std::vector<std::int64_t>& rows) {
    batch_ = dataset_->training_batch(rows, kLength);
    // A state for each (row, place), so that a row's is the same in every batch.
    std::vector<Tensor> states;
    for (std::size_t s = 0; s < batch_.sample_ids.size(); ++s)
      for (std::int64_t t = batch_.offsets[s]; t < batch_.offsets[s + 1]; ++t) {
        auto generator = at::detail::createCPUGenerator(
            static_cast<std::uint64_t>(batch_.sample_ids[s] * 100 + t - batch_.offsets[s]));
        states.push_back(at::empty({kDim}).normal_(0, 1.2, generator));
      }
    hidden_ = at::stack(states, 0);
    targets_ = torch::tensor(batch_.target_ids, torch::kInt64);
    logits_ = hidden_.mm(table_.weight.detach().t());
  }

  [[nodiscard]] data::LabelRows make(const std::string& kind, const base::Json& options,
                                     Element values = Element::kF32) {
    const torch::NoGradGuard no_grad;
    data::LabelSpec spec;
    spec.kind = kind, spec.options = options, spec.items = kItems, spec.max_length = kLength;
    const auto made = kind_of(spec);
    spec.columns = made->columns({*dataset_, kLength, {{"hidden", kDim}}, values});
    data::LabelRows rows(std::make_shared<const data::LabelSpec>(spec));
    TeacherBlock block{batch_, *dataset_, 0, 0, hidden_, &table_, targets_, {{"hidden", hidden_}}};
    made->make(block, rows);
    rows.targets = batch_.targets();
    for (std::size_t c = 0; c < rows.columns.size(); ++c)
      EXPECT_EQ(static_cast<std::int64_t>(rows.columns[c].size()), rows.targets * spec.columns[c].bytes())
          << spec.columns[c].name;
    return rows;
  }
  [[nodiscard]] static TeacherLabels decode(const data::LabelRows& rows, const std::set<double>& temperatures = {}) {
    return kind_of(*rows.spec)->decode(rows, temperatures, torch::kCPU);
  }
  /// The log-sum-exp over the items that are not among `ids`.
  [[nodiscard]] Tensor rest(const Tensor& ids, double t) const {
    auto left = logits_ / t;
    for (std::int64_t r = 0; r < ids.size(0); ++r)
      for (std::int64_t i = 0; i < ids.size(1); ++i)
        if (const auto id = ids[r][i].item<std::int64_t>(); id >= 0)
          left[r][id] = -std::numeric_limits<float>::infinity();
    return at::logsumexp(left, 1);
  }
  void expect_common(const TeacherLabels& labels) const {
    EXPECT_TRUE(labels.target_logit.allclose(logits_.gather(1, targets_.unsqueeze(1)).squeeze(1), 1e-4, 1e-4));
    EXPECT_TRUE(labels.logit_mean.allclose(logits_.mean(1), 1e-4, 1e-4));
    EXPECT_TRUE(labels.logit_variance.allclose(logits_.var(1, false), 1e-3, 1e-3));
  }

  TempFolder folder_;
  std::unique_ptr<data::Dataset> dataset_;
  models::LocalTable table_;
  data::PackedBatch batch_;
  Tensor hidden_, targets_, logits_;
};

TEST_F(Kinds, TopKKeepsTheBestAndTheRest) {
  const auto labels = decode(make("topk", {{"k", 7}, {"temperatures", {1, 3}}}), {1, 3});
  const auto best = logits_.sort(true, 1, true);
  EXPECT_TRUE(labels.ids.equal(std::get<1>(best).narrow(1, 0, 7)));
  EXPECT_TRUE(labels.logits.allclose(std::get<0>(best).narrow(1, 0, 7), 1e-4, 1e-4));
  for (const double t : {1.0, 3.0}) EXPECT_TRUE(labels.rest_lse.at(t).allclose(rest(labels.ids, t), 1e-4, 1e-4));
  EXPECT_FALSE(labels.present.defined());
  expect_common(labels);
}

TEST_F(Kinds, TypesRoundAsTheySay) {
  const auto exact = decode(make("topk", {{"k", 20}})).logits;
  const auto error = [&](Element type) {
    return (decode(make("topk", {{"k", 20}}, type)).logits - exact).abs().max().item<double>();
  };
  const double span = (exact.select(1, 0) - exact.select(1, 19)).max().item<double>();
  EXPECT_LT(error(Element::kF16), span * 0x1.0p-11);
  EXPECT_GT(error(Element::kF16), 0);
  EXPECT_LT(error(Element::kBf16), span * 0x1.0p-8);
  EXPECT_GT(error(Element::kBf16), error(Element::kF16));
}

TEST_F(Kinds, TopPKeepsTheFewestThatHoldIt) {
  const auto labels = decode(make("top_p", {{"p", 0.95}, {"k", 12}, {"temperatures", {1, 2}}}), {1, 2});
  const auto probability = logits_.softmax(1);
  bool fewer = false, all = false;
  for (std::int64_t r = 0; r < labels.ids.size(0); ++r) {
    const std::int64_t kept = (labels.ids[r] >= 0).sum().item<std::int64_t>();
    ASSERT_GE(kept, 1);
    EXPECT_TRUE((labels.ids[r].narrow(0, 0, kept) >= 0).all().item<bool>());
    EXPECT_TRUE(labels.logits[r].narrow(0, kept, 12 - kept).isneginf().all().item<bool>());
    const auto held = probability[r].index_select(0, labels.ids[r].narrow(0, 0, kept)).cumsum(0);
    if (kept < 12) {
      EXPECT_GE(held[kept - 1].item<double>(), 0.95 - 1e-5);
    }
    if (kept > 1) {
      EXPECT_LT(held[kept - 2].item<double>(), 0.95 + 1e-5);
    }
    fewer = fewer || kept < 12, all = all || kept == 12;
  }
  EXPECT_TRUE(fewer && all);
  for (const double t : {1.0, 2.0}) EXPECT_TRUE(labels.rest_lse.at(t).allclose(rest(labels.ids, t), 1e-4, 1e-4));
  expect_common(labels);
}

TEST_F(Kinds, DenseKeepsEverythingInOrder) {
  const auto labels = decode(make("dense", base::Json::object()), {1, 2.5});
  EXPECT_TRUE(labels.logits.allclose(logits_, 1e-4, 1e-4));
  EXPECT_TRUE(labels.ids[3].equal(at::arange(kItems)));
  EXPECT_TRUE(labels.rest_lse.at(2.5).isneginf().all().item<bool>());
  expect_common(labels);
}

TEST_F(Kinds, DenseIsRefusedAboveItsLimit) {
  data::testing_support::write_rows(folder_ / "wide", [] {
    auto rows = data::testing_support::ragged_rows(60);
    rows[11].assign({200000, 1, 2, 3});
    return rows;
  }());
  const data::Dataset wide(folder_ / "wide");
  const auto kind = label_kinds().make({"dense", label_kinds().options_of("dense")});
  data::LabelSpec spec;
  spec.kind = "dense", spec.options = {{"limit_mib", 10}};
  EXPECT_NO_THROW(static_cast<void>(kind->columns({wide, kLength, {}, Element::kF16})));
  const auto why = message_of<base::ConfigError>([&] {
    static_cast<void>(kind_of(spec)->columns({wide, kLength, {}, Element::kF16}));
  });
  EXPECT_PRED2(contains, why, "'labels.limit_mib: 10'");
}

TEST_F(Kinds, SampledEstimatesWithoutBias) {
  constexpr int kSeeds = 400, kDraws = 20;
  for (const double t : {1.0, 2.0}) {
    auto sum = at::zeros_like(logits_);
    for (int seed = 0; seed < kSeeds; ++seed) {
      const auto labels = decode(make("sampled", {{"draws", kDraws}, {"drawn_at", t}, {"seed", seed}}));
      EXPECT_EQ(labels.drawn_at, t);
      EXPECT_TRUE(labels.draw_weights.sum(1).allclose(at::ones({labels.ids.size(0)})));
      sum.scatter_add_(1, labels.ids.clamp_min(0), labels.draw_weights);
    }
    const auto p = (logits_ / t).softmax(1);
    // Mean of kSeeds * kDraws draws: five standard deviations, and three draws, since a rare item comes once or never.
    const auto bound = 5 * (p * (1 - p) / (kSeeds * kDraws)).sqrt() + 3.0 / (kSeeds * kDraws);
    EXPECT_TRUE(((sum / kSeeds - p).abs() <= bound).all().item<bool>()) << "T = " << t;
  }
}

TEST_F(Kinds, SampledKeepsDistinctItemsAndTheExactRest) {
  const auto labels = decode(make("sampled", {{"draws", 15}, {"temperatures", {1, 2}}}), {1, 2});
  const auto sorted = std::get<0>(labels.ids.sort(1));
  const auto twice = (sorted.narrow(1, 1, 14) == sorted.narrow(1, 0, 14)) & (sorted.narrow(1, 1, 14) >= 0);
  EXPECT_FALSE(twice.any().item<bool>());
  EXPECT_TRUE((labels.ids < 0).any().item<bool>());  // some item came twice
  EXPECT_TRUE((labels.ids < 0).equal(labels.draw_weights == 0));
  const auto own = logits_.gather(1, labels.ids.clamp_min(0));
  EXPECT_TRUE(labels.logits.masked_fill(labels.ids < 0, 0).allclose(own.masked_fill(labels.ids < 0, 0), 1e-4, 1e-4));
  for (const double t : {1.0, 2.0}) EXPECT_TRUE(labels.rest_lse.at(t).allclose(rest(labels.ids, t), 1e-4, 1e-4));
  expect_common(labels);
}

TEST_F(Kinds, DrawsBelongToRowAndPlace) {
  const std::map<std::string, std::string> size_of{{"sampled", "draws"}, {"candidates", "negatives"}};
  for (const auto& [kind, size] : size_of) {
    const auto all = decode(make(kind, {{size, 20}})).ids;
    const auto other = decode(make(kind, {{size, 20}, {"seed", 2}})).ids;
    EXPECT_FALSE(all.equal(other));
    const auto rows = batch_.sample_ids;
    std::int64_t at = 0;
    for (const auto row : rows) {
      use_rows({row});
      EXPECT_TRUE(decode(make(kind, {{size, 20}})).ids.equal(all.narrow(0, at, batch_.targets()))) << row;
      at += batch_.targets();
    }
    use_rows(rows);
  }
}

TEST_F(Kinds, CandidatesAreTheTargetAndDistinctNegatives) {
  for (const std::string draw : {"uniform", "popularity"}) {
    const auto labels = decode(make("candidates", {{"negatives", 12}, {"draw", draw}}));
    EXPECT_EQ(labels.ids.size(1), 13);
    EXPECT_TRUE(labels.ids.select(1, 0).equal(targets_));
    const auto sorted = std::get<0>(labels.ids.sort(1));
    EXPECT_TRUE((sorted.narrow(1, 1, 12) > sorted.narrow(1, 0, 12)).all().item<bool>()) << draw;
    EXPECT_TRUE(labels.logits.allclose(logits_.gather(1, labels.ids), 1e-4, 1e-4));
    EXPECT_TRUE(labels.target_logit.allclose(labels.logits.select(1, 0), 1e-4, 1e-4));
    EXPECT_TRUE(labels.rest_lse.empty());
  }
  const auto why = message_of<base::ConfigError>([&] { static_cast<void>(make("candidates", {{"negatives", 50}})); });
  EXPECT_PRED2(contains, why, "a catalogue of at least 51 items");
}

TEST_F(Kinds, PopularCandidatesComeByTheirCounts) {
  std::vector<double> drawn(kItems, 0);
  for (int seed = 0; seed < 300; ++seed) {
    const auto ids = decode(make("candidates", {{"negatives", 1}, {"draw", "popularity"}, {"seed", seed}})).ids;
    for (std::int64_t r = 0; r < ids.size(0); ++r) drawn[static_cast<std::size_t>(ids[r][1].item<std::int64_t>())] += 1;
  }
  const auto& counts = dataset_->training_counts();
  const auto top = std::max_element(counts.begin(), counts.end()) - counts.begin();
  const double all = std::accumulate(drawn.begin(), drawn.end(), 0.0);
  const double mass = std::accumulate(counts.begin(), counts.end(), 0.0);
  const double p = static_cast<double>(counts[static_cast<std::size_t>(top)]) / mass;
  EXPECT_NEAR(drawn[static_cast<std::size_t>(top)] / all, p, 0.15 * p + 5 * std::sqrt(p / all));
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] == 0) EXPECT_EQ(drawn[i], 0) << i;
}

TEST_F(Kinds, HiddenKeepsATap) {
  const auto labels = decode(make("hidden", base::Json::object()));
  EXPECT_TRUE(labels.vectors.equal(hidden_));
  EXPECT_FALSE(labels.ids.defined());
  EXPECT_TRUE(labels.target_logit.allclose(logits_.gather(1, targets_.unsqueeze(1)).squeeze(1), 1e-4, 1e-4));
  hidden_ = hidden_ * 1e6;
  const auto why =
      message_of<NumericError>([&] { static_cast<void>(make("hidden", base::Json::object(), Element::kF16)); });
  EXPECT_PRED2(contains, why, "use fp32 or bf16");
}

TEST_F(Kinds, ColumnsThatAnotherProgramLeftOutAreUndefined) {
  auto full = make("topk", {{"k", 4}, {"temperatures", {1}}});
  data::LabelSpec spec = *full.spec;
  spec.columns = {full.spec->columns[0], full.spec->columns[1]};
  data::LabelRows rows(std::make_shared<const data::LabelSpec>(spec));
  rows.targets = full.targets;
  rows.columns = {full.columns[0], full.columns[1]};
  const auto labels = decode(rows, {1});
  EXPECT_TRUE(labels.ids.defined() && labels.logits.defined());
  EXPECT_FALSE(labels.target_logit.defined() || labels.logit_mean.defined());
  EXPECT_TRUE(labels.rest_lse.empty());
}

TEST_F(Kinds, AnAbsentTargetIsSaidToBe) {
  auto rows = make("topk", {{"k", 4}, {"temperatures", {1}}});
  rows.append_absent(2);
  const auto labels = decode(rows, {1});
  EXPECT_EQ(labels.present.sum().item<std::int64_t>(), rows.targets - 2);
  EXPECT_FALSE(labels.present[rows.targets - 1].item<bool>());
  EXPECT_TRUE((labels.ids[rows.targets - 1] == -1).all().item<bool>());
  EXPECT_TRUE(labels.logits[rows.targets - 1].isneginf().all().item<bool>());
}

TEST(LabelKinds, UnknownOnesAreNamed) {
  data::LabelSpec spec;
  spec.kind = "topq";
  EXPECT_PRED2(contains, message_of<base::ConfigError>([&] { static_cast<void>(kind_of(spec)); }), "did you mean");
}

/// Two sets over three targets; the second lacks the last one.
struct TwoSets {
  TwoSets() {
    const float infinity = std::numeric_limits<float>::infinity();
    a.ids = torch::tensor({{0, 1}, {2, 3}, {4, 5}}, torch::kInt64);
    a.logits = torch::tensor({{2.0f, 1.0f}, {0.0f, 0.0f}, {1.0f, 0.0f}});
    a.rest_lse[1.0] = torch::tensor({0.5f, -infinity, 0.0f});
    a.target_logit = torch::tensor({2.0f, 0.0f, 0.0f});
    b.ids = torch::tensor({{1, 7}, {2, 3}, {-1, -1}}, torch::kInt64);
    b.logits = torch::tensor({{3.0f, 1.0f}, {1.0f, 0.0f}, {-infinity, -infinity}});
    b.rest_lse[1.0] = torch::tensor({0.0f, 0.0f, 0.0f});
    b.target_logit = torch::tensor({-1.0f, 1.0f, 0.0f});
    b.present = torch::tensor({true, true, false});
  }
  [[nodiscard]] Tensor shares(ShareRule rule, const std::vector<double>& factors = {1, 1}) const {
    return label_shares({&a, &b}, rule, factors, 3, torch::kCPU);
  }
  TeacherLabels a, b;
};

TEST(Shares, FixedOnesAreRenormalisedOverWhoIsThere) {
  EXPECT_TRUE(TwoSets()
                  .shares(ShareRule::kFixed, {1, 3})
                  .allclose(torch::tensor({{0.25f, 0.75f}, {0.25f, 0.75f}, {1.0f, 0.0f}})));
}

TEST(Shares, TheMoreConfidentTeacherGetsMore) {
  const TwoSets sets;
  const auto ce = [](double logit, std::vector<double> all) {
    double sum = 0;
    for (const double z : all) sum += std::exp(z);
    return std::log(sum) - logit;
  };
  const double first = std::exp(-ce(2, {2, 1, 0.5})), second = std::exp(-ce(-1, {3, 1, 0}));
  const auto shares = sets.shares(ShareRule::kConfidence);
  EXPECT_NEAR(shares[0][0].item<double>(), first / (first + second), 1e-5);
  EXPECT_NEAR(shares[2][0].item<double>(), 1, 1e-6);
  EXPECT_EQ(shares[2][1].item<double>(), 0);
  EXPECT_TRUE(shares.sum(1).allclose(torch::ones({3})));
  TwoSets blind;
  blind.b.rest_lse.clear();
  EXPECT_THROW(static_cast<void>(blind.shares(ShareRule::kConfidence)), base::ConfigError);
}

TEST(Shares, DisagreementWeighsATargetLess) {
  // One of two ids in common; both; no second teacher.
  const auto shares = TwoSets().shares(ShareRule::kDisagreement);
  EXPECT_TRUE(shares.sum(1).allclose(torch::tensor({0.5f, 1.0f, 1.0f})));
  EXPECT_TRUE(shares.allclose(torch::tensor({{0.25f, 0.25f}, {0.5f, 0.5f}, {1.0f, 0.0f}})));
}

}  // namespace
}  // namespace decant::trainer
