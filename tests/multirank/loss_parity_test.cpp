// N ranks equal one rank for every loss of the registry, each beside ce, on steps of several shapes: four steps of plain
// SGD, clipped, with dropout; the loss's own parameters are among those compared.
#include <algorithm>

#include "tests/multirank/parity_fixture.h"

namespace decant::multirank {
namespace {

constexpr double kSgdTolerance = 1e-6;  // of a parameter: plain SGD magnifies nothing

struct Shape {
  std::string name;
  const Corpus* corpus;
  std::int64_t sequences, accumulate = 1, rank_tokens = 0;
};

class LossParity : public Parity {
 protected:
  static Job job_of(const std::string& type, const Shape& shape) {
    Job job;
    job.corpus = shape.corpus;
    job.loss = type, job.options = small_options(type);
    job.batch.sequences = shape.sequences;
    if (make_loss(job).loss->needs().scope != trainer::Scope::kBatch)  // these compare the rows of whole steps
      job.batch.accumulate = shape.accumulate, job.batch.rank_tokens = shape.rank_tokens;
    job.train.max_steps = 4, job.train.patience = 0, job.train.clip_norm = 0.2;
    if (type == "info_nce" && shape.sequences < 3) job.options["symmetric"] = true;
    return job;
  }

  static void expect_parity_of_losses(const Shape& shape) {
    for (const auto& type : trainer::default_registries().losses.names()) {
      const Job job = job_of(type, shape);
      std::string name = type + "-" + shape.name;
      std::replace(name.begin(), name.end(), ' ', '-');
      const Outcome here = train(world(), name, job), alone = train_alone(name + "-alone", job);
      const Gap gap = gap_of(here, alone);
      tell("losses, " + shape.name, type, gap);
      EXPECT_LE(std::max(gap.parameters, gap.key_biases), kSgdTolerance) << name;
      EXPECT_LE(gap.losses, kLossTolerance) << name;
      EXPECT_GT(here.norm, job.train.clip_norm) << name << ": nothing was clipped";
    }
  }
};

TEST_F(LossParity, ManyRows) { expect_parity_of_losses({"many rows", even_.get(), 60, 2, 300}); }
TEST_F(LossParity, FewerRowsThanRanks) { expect_parity_of_losses({"two rows a step", uneven_.get(), 2}); }
TEST_F(LossParity, OneRowAStep) { expect_parity_of_losses({"one row a step", uneven_.get(), 1}); }
TEST_F(LossParity, LengthsFarApart) { expect_parity_of_losses({"lengths far apart", uneven_.get(), 6, 2, 30}); }

}  // namespace
}  // namespace decant::multirank
