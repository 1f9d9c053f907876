// N ranks equal one rank: jobs of several losses trained by AdamW, clipped, with accumulation and dropout, on datasets of
// several shapes. Every loss by itself: loss_parity_test.cpp.
#include <cmath>

#include "tests/multirank/parity_fixture.h"
#include "trainer/errors.h"

namespace decant::multirank {
namespace {

/// Steps of few rows of lengths far apart, none of which a rank may split.
Job small_job(const Corpus& corpus, std::int64_t sequences) {
  Job job;
  job.corpus = &corpus;
  job.batch.sequences = sequences;
  job.train.max_steps = 5;
  job.train.patience = 0;
  job.train.clip_norm = 0.05;
  return job;
}

/// The same with steps of two cuts, which a rank splits into micro-batches: a long row is alone in one.
Job uneven_job(const Corpus& corpus) {
  Job job = small_job(corpus, 6);
  job.batch.accumulate = 2;
  job.batch.rank_tokens = 30;
  return job;
}

TEST_F(Parity, Training) { expect_parity("accumulated", main_job()); }

TEST_F(Parity, FewerRowsThanRanks) { expect_parity("two rows a step", small_job(*uneven_, 2)); }

TEST_F(Parity, OneRowAStep) { expect_parity("one row a step", small_job(*uneven_, 1)); }

TEST_F(Parity, LengthsFarApart) { expect_parity("lengths far apart", uneven_job(*uneven_)); }

TEST_F(Parity, ADatasetOfOneRow) { expect_parity("a dataset of one row", small_job(*single_, 4)); }

TEST_F(Parity, CutsByTokensAndSampledSoftmax) {
  Job job = main_job();
  job.batch.tokens = 700;
  job.labels = false;
  job.train.softmax.kind = "sampled";
  job.train.softmax.negatives = 40;
  expect_parity("sampled softmax", job);
  job = uneven_job(*uneven_);
  job.labels = false;
  job.train.softmax.kind = "sampled";
  job.train.softmax.negatives = 40;
  expect_parity("sampled softmax and lengths far apart", job);
}

TEST_F(Parity, BalancedLosses) {
  Job job = main_job();
  job.balance.kind = "gradient_norm", job.balance.every = 2;
  job.train.checkpoint_steps = 3;
  expect_parity("balanced", job);
  const Outcome whole = train(world(), "balanced", job), alone = train_alone("balanced-alone", job);  // finished
  for (const char* name : {"kl_tail", "mse"}) {
    const double here = whole.curve.back().at("scale").at(name), there = alone.curve.back().at("scale").at(name);
    EXPECT_NEAR(here, there, 1e-4 * there) << name;
    EXPECT_GT(std::abs(std::log(here)), 0.1) << name << ": nothing was scaled";
  }
  // Between two measurements, within an epoch: the scales come from the checkpoint.
  Job cut = job;
  cut.fault = "step@3:" + std::to_string(world().rank()) + ":throw";
  EXPECT_THROW(static_cast<void>(train(world(), "balanced-cut", cut)), std::runtime_error);
  const Outcome here = train(world(), "balanced-cut", job);
  EXPECT_EQ(models::hash_tensors(here.parameters), models::hash_tensors(whole.parameters));
  EXPECT_EQ(here.curve.dump(), whole.curve.dump());
  job.train.max_steps = 1;
  job.balance.kind = "none";
  const Outcome plain = train(world(), "not-balanced", job);
  EXPECT_FALSE(plain.curve.back().contains("scale"));
}

TEST_F(Parity, BalancedLossesWithFewerRowsThanRanks) {
  Job job = small_job(*even_, 2);
  job.loss = "crd", job.options = small_options("crd");  // losses meet over ranks in a measurement too
  job.balance.kind = "gradient_norm", job.balance.every = 2;
  const Gap gap = gap_of(train(world(), "balanced-few", job), train_alone("balanced-few-alone", job));
  tell("jobs", "crd, balanced, two rows a step", gap);
  expect_within_tolerance(gap, "balanced");
  EXPECT_LE(gap.losses, 1e-5);
}

/// With rows of many lengths, shares differ in weight.
TEST_F(Parity, AMeanOfRanksIsFound) {
  for (Job job : {small_job(*even_, 7), small_job(*uneven_, 6)}) {
    const std::string name = job.corpus == even_.get() ? "seven rows a step" : "six rows a step, lengths far apart";
    expect_parity(name, job);
    const Outcome right = train_alone(name + " right", job);
    job.mean_of_ranks = true;
    const Gap gap = gap_of(train(world(), name + " wrong", job), right);
    tell("wrong on purpose", name, gap);
    if (world().size() == 1) {
      EXPECT_LE(gap.parameters, kTolerance) << "one rank's mean is the mean";
    } else {
      EXPECT_GT(gap.parameters, 10 * kTolerance) << name;
      EXPECT_GT(gap.losses, 10 * kLossTolerance) << name;
    }
  }
}

TEST_F(Parity, AStopOfOneRankIsEverybodys) {
  Job job = main_job();
  const Outcome whole = train(world(), "unstopped", job);
  const bool last = world().rank() + 1 == world().size(), first = world().rank() == 0;
  Job stopped = job;
  stopped.stop_after = last ? 1 : 0;
  EXPECT_THROW(static_cast<void>(train(world(), "stopped", stopped)), trainer::Stopped);
  EXPECT_EQ(models::hash_tensors(train(world(), "stopped", job).parameters), models::hash_tensors(whole.parameters));
  EXPECT_THROW(static_cast<void>(label(world(), *even_, "labels-stopped", 1, first)), trainer::Stopped);
  static_cast<void>(label(world(), *even_, "labels-stopped", 1));
  EXPECT_EQ(hashes_of(even_->folder / "labels-stopped"), hashes_of(even_->folder / "labels"));
}

}  // namespace
}  // namespace decant::multirank
