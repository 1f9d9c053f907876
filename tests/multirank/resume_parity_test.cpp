// Training that stops and goes on at other numbers of ranks: the rows of an epoch are those of an undisturbed run, each
// once, and the parameters are within the tolerance of N ranks against one.
#include <algorithm>
#include <numeric>

#include "tests/multirank/parity_fixture.h"
#include "trainer/errors.h"

namespace decant::multirank {
namespace {

class ResumeParity : public Parity {
 protected:
  /// Two epochs, stopped and continued where `legs` say: so many ranks, up to so many steps (0: to the end).
  struct Leg {
    int ranks;
    std::int64_t until;
  };

  static Job two_epochs(std::int64_t& steps) {
    Job job = main_job();
    const data::Sampler sampler(*job.corpus->dataset, job.batch, job.corpus->max_length, 3);
    steps = sampler.steps(0);
    job.train.max_steps = 0, job.train.max_epochs = 2;
    return job;
  }

  /// Rows by step, of all ranks of the leg; on rank 0. What a later leg did is what counts.
  static void merge(SeenRows& all, const SeenRows& mine) {
    base::Json tree = base::Json::object();
    for (const auto& [step, rows] : mine) tree[std::to_string(step)] = rows;
    SeenRows leg;
    for (const auto& bytes : world().gather_bytes(tree.dump())) {
      const auto of_rank = base::Json::parse(bytes);
      for (const auto& [step, rows] : of_rank.items())
        for (const std::int64_t row : rows) leg[std::stoll(step)].push_back(row);
    }
    for (auto& [step, rows] : leg) {
      std::sort(rows.begin(), rows.end());
      EXPECT_FALSE(all.contains(step) && all.at(step) != rows) << "step " << step << " was done again with other rows";
      all[step] = rows;
    }
  }

  /// Rank 0 gets what it came to.
  static Outcome run(const std::string& name, const Job& job, const std::vector<Leg>& legs, SeenRows& seen) {
    Outcome out;
    for (const auto& leg : legs) {
      const bool in = world().rank() < leg.ranks;
      const auto some = world().split(in ? 0 : 1);
      SeenRows mine;
      Job part = job;
      part.seen = &mine, part.stop_after = leg.until;
      if (in && leg.until == 0) out = train(*some, name, part);
      if (in && leg.until > 0) {
        EXPECT_THROW(static_cast<void>(train(*some, name, part)), trainer::Stopped);
        EXPECT_EQ(mine.empty() ? 0 : mine.rbegin()->first + 1, leg.until) << name << ": did not stop where it should";
      }
      world().rendezvous();
      merge(seen, mine);
    }
    return out;
  }

  /// Every row that has a target, once.
  static std::vector<std::int64_t> rows_of_epoch(const Corpus& corpus) {
    std::vector<std::int64_t> rows;
    for (std::int64_t row = 0; row < corpus.dataset->info().rows; ++row)
      if (corpus.dataset->training_targets(row, corpus.max_length) > 0) rows.push_back(row);
    return rows;
  }

  static std::vector<std::int64_t> between(const SeenRows& seen, std::int64_t first, std::int64_t last) {
    std::vector<std::int64_t> rows;
    for (std::int64_t step = first; step < last; ++step)
      rows.insert(rows.end(), seen.at(step).begin(), seen.at(step).end());
    std::sort(rows.begin(), rows.end());
    return rows;
  }

  static void expect_the_same(const std::vector<std::vector<Leg>>& runs) {
    std::int64_t steps = 0;
    const Job job = two_epochs(steps);
    SeenRows undisturbed;
    const Outcome whole = run("undisturbed", job, {{1, 0}}, undisturbed);
    for (const auto& legs : runs) {
      std::string name;
      for (const auto& leg : legs) name += (name.empty() ? "" : " to ") + std::to_string(leg.ranks);
      SeenRows seen;
      const Outcome here = run(name, job, legs, seen);
      if (world().rank() != 0) continue;
      EXPECT_EQ(seen, undisturbed) << name << ": a step has other rows";
      for (std::int64_t epoch = 0; epoch < 2; ++epoch)
        EXPECT_EQ(between(seen, epoch * steps, (epoch + 1) * steps), rows_of_epoch(*job.corpus))
            << name << ", epoch " << epoch;
      const Gap gap = gap_of(here, whole);
      tell("resume", name, gap);
      expect_within_tolerance(gap, name);
      EXPECT_LE(gap.losses, kLossTolerance) << name;
    }
  }
};

TEST_F(ResumeParity, AtAnotherNumberOfRanks) {
  // Stopped in the first epoch (of four steps), and, where there is a third part, in the second.
  const std::vector<std::vector<Leg>> all{{{1, 2}, {2, 0}},         {{2, 1}, {1, 0}}, {{2, 2}, {3, 0}},
                                          {{3, 3}, {1, 0}},         {{2, 3}, {4, 0}}, {{4, 2}, {2, 0}},
                                          {{4, 1}, {3, 6}, {1, 0}}, {{4, 3}, {3, 0}}};
  std::vector<std::vector<Leg>> here;
  const auto most = [](const auto& legs) {
    return std::max_element(legs.begin(), legs.end(), [](auto& a, auto& b) { return a.ranks < b.ranks; })->ranks;
  };
  for (const auto& legs : all)
    if (most(legs) == std::max(2, world().size())) here.push_back(legs);
  if (world().size() == 1) here = {{{1, 3}, {1, 0}}};
  expect_the_same(here);
}

TEST_F(ResumeParity, ADeathAtAnyNumberOfRanks) {
  Job job = main_job();
  job.train.checkpoint_steps = 2;
  const Outcome whole = train(world(), "whole", job), read_again = train(world(), "whole", job);
  EXPECT_EQ(models::hash_tensors(read_again.parameters), models::hash_tensors(whole.parameters));
  EXPECT_EQ(read_again.curve.dump(), whole.curve.dump());
  EXPECT_EQ(read_again.stopped_by, "max_steps");
  Job cut = job;
  cut.fault = "step@3:" + std::to_string(world().rank()) + ":throw";
  EXPECT_THROW(static_cast<void>(train(world(), "cut", cut)), std::runtime_error);
  copy_folder("cut", "cut-alone");
  const Outcome here = train(world(), "cut", job), alone = train_alone("cut-alone", job);
  EXPECT_EQ(models::hash_tensors(here.parameters), models::hash_tensors(whole.parameters)) << "same ranks, same bits";
  EXPECT_EQ(here.curve.dump(), whole.curve.dump());
  const Gap gap = gap_of(alone, whole);
  tell("resume", std::to_string(world().size()) + " die, 1 goes on", gap);
  expect_within_tolerance(gap, "continued by one");
  EXPECT_LE(gap.losses, kLossTolerance);
}

TEST_F(ResumeParity, BanksContinueFromACheckpointAtAnyNumberOfRanks) {
  Job job;
  job.corpus = even_.get();
  job.loss = "crd", job.options = small_options("crd");
  job.batch.sequences = 60;
  job.train.max_steps = 4, job.train.patience = 0, job.train.checkpoint_steps = 2;
  const Outcome whole = train(world(), "bank", job);
  Job cut = job;
  cut.fault = "step@3:" + std::to_string(world().rank()) + ":throw";
  EXPECT_THROW(static_cast<void>(train(world(), "bank-cut", cut)), std::runtime_error);
  copy_folder("bank-cut", "bank-cut-alone");
  const Outcome here = train(world(), "bank-cut", job), alone = train_alone("bank-cut-alone", job);
  EXPECT_EQ(models::hash_tensors(here.parameters), models::hash_tensors(whole.parameters)) << "same ranks, same bits";
  const Gap gap = gap_of(alone, whole);
  expect_within_tolerance(gap, "continued by one");
  EXPECT_LE(gap.losses, 1e-5);
}

}  // namespace
}  // namespace decant::multirank
