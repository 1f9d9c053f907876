// Labels and evaluation are the same to the bit at any number of ranks and threads.
#include <map>
#include <tuple>

#include "tests/multirank/parity_fixture.h"
#include "trainer/baselines.h"
#include "trainer/fidelity.h"
#include "trainer/labels/label_kind.h"
#include "trainer/segments.h"

namespace decant::multirank {
namespace {

using dist::Communicator;
class LabelParity : public Parity {};

/// Everything that evaluation says of two models.
struct Evaluated {
  std::vector<std::vector<std::int64_t>> counts;
  std::vector<double> values;
  std::string segments;
  bool operator==(const Evaluated&) const = default;
};

/// Which ranks a process keeps differs; what segments make of them all does not.
std::string segments_of(models::SequenceModel& teacher, models::SequenceModel& student, const data::Dataset& dataset,
                        trainer::Context& context) {
  std::map<std::string, trainer::SideRecords> sides;
  for (const auto& [name, model] : {std::pair("teacher", &teacher), {"student", &student}}) {
    auto& side = sides[name];
    for (const auto split : {data::Split::kValid, data::Split::kTest}) {
      auto& kept = split == data::Split::kValid ? side.valid : side.test;
      static_cast<void>(trainer::evaluate_model(*model, dataset, split, true, context, &kept));
    }
  }
  auto& fidelities = sides["student"].fidelity;
  static_cast<void>(trainer::measure_fidelity(teacher, student, dataset, 0.9, context, &fidelities));
  const auto segments = trainer::make_segments(dataset, trainer::EvaluateOptions());
  return trainer::segments_json(segments, sides, "ndcg@10", context).dump();
}

Evaluated evaluate(models::SequenceModel& teacher, models::SequenceModel& student, const data::Dataset& dataset,
                   trainer::Context& context) {
  Evaluated out;
  const auto keep = [&](trainer::Evaluation found) {
    out.counts.insert(out.counts.end(), {found.all.counts(), found.unseen.counts(), {found.cold_targets}});
  };
  for (const auto split : {data::Split::kValid, data::Split::kTest}) {
    keep(trainer::evaluate_model(teacher, dataset, split, true, context));
    keep(trainer::evaluate_model(student, dataset, split, true, context));
    for (const auto kind : {trainer::Baseline::kPopularity, trainer::Baseline::kTransitions})
      keep(trainer::BaselineRanker(dataset, kind).evaluate(split, context));
  }
  const auto fidelity = trainer::measure_fidelity(teacher, student, dataset, 0.9, context);
  out.values = {fidelity.kl, fidelity.rbo};
  for (const auto* by : {&fidelity.overlap, &fidelity.tau})
    for (const auto& [k, value] : *by) out.values.push_back(value);
  const auto calibration = trainer::measure_calibration(student, dataset, 15, context);
  out.values.insert(out.values.end(), {calibration.nll, calibration.top1_error, calibration.target_error});
  for (const auto& bin : calibration.target_bins) out.values.insert(out.values.end(), {bin.expected, bin.found});
  out.segments = segments_of(teacher, student, dataset, context);
  return out;
}

TEST_F(LabelParity, LabelsAreTheSameBytes) {
  const auto here = hashes_of(even_->folder / "labels");
  EXPECT_EQ(here.size(), 4U);  // a manifest and three parts
  if (world().rank() == 0)
    for (const int threads : {1, 2}) {
      const std::string name = "labels-alone-" + std::to_string(threads);
      label(*dist::make_single_communicator(torch::kCPU), *even_, name, threads);
      EXPECT_EQ(hashes_of(even_->folder / name), here) << threads << " threads";
    }
  world().barrier();
  if (world().rank() == 0) {
    fs::copy(even_->folder / "labels", even_->folder / "labels-cut");
    for (const char* name : {"manifest.json", "part-00000.h5", "part-00002.h5"})
      fs::remove(even_->folder / "labels-cut" / name);
  }
  world().barrier();
  const auto result = label(world(), *even_, "labels-cut", 1);
  EXPECT_GT(result.labelled_now, 0);
  EXPECT_LT(result.labelled_now, result.positions);
  EXPECT_EQ(result.parts_of_rank, world().size() == 1 ? 2 : (world().rank() < 2 ? 1 : 0)) << "not dealt evenly";
  EXPECT_EQ(hashes_of(even_->folder / "labels-cut"), here) << "continued";
}

TEST_F(LabelParity, LabelsOfEveryKindAreTheSameBytes) {
  const std::vector<Kind> kinds{{"top_p", {{"p", 0.6}, {"k", 30}}},
                                {"dense", base::Json::object()},
                                {"sampled", {{"draws", 25}}},
                                {"candidates", {{"negatives", 20}}},
                                {"candidates", {{"negatives", 20}, {"draw", "popularity"}}},
                                {"candidates", {{"ids_from", (even_->folder / "labels").string()}}},
                                {"hidden", base::Json::object()}};
  std::set<std::string> covered{"topk"};  // LabelsAreTheSameBytes
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const std::string name = "kind-" + std::to_string(i);
    label(world(), *even_, name, 1, false, kinds[i]);
    const auto here = hashes_of(even_->folder / name);
    EXPECT_EQ(here.size(), 4U) << kinds[i].type;
    if (world().rank() == 0)
      for (const int threads : {1, 2}) {
        const std::string alone = name + "-alone-" + std::to_string(threads);
        label(*dist::make_single_communicator(torch::kCPU), *even_, alone, threads, false, kinds[i]);
        EXPECT_EQ(hashes_of(even_->folder / alone), here) << kinds[i].type << ", " << threads << " threads";
      }
    world().barrier();
    covered.insert(kinds[i].type);
  }
  for (const auto& type : trainer::label_kinds().names()) EXPECT_TRUE(covered.contains(type)) << type;
}

TEST_F(LabelParity, LabelsOfUnevenRowsAreTheSameBytes) {
  for (const Corpus* corpus : {uneven_.get(), single_.get()}) {
    alone([&](Communicator& one) { label(one, *corpus, "labels-alone", 1); });
    EXPECT_EQ(hashes_of(corpus->folder / "labels-alone"), hashes_of(corpus->folder / "labels")) << corpus->folder;
  }
}

TEST_F(LabelParity, EvaluationIsTheSame) {
  for (const Corpus* corpus : {even_.get(), uneven_.get(), single_.get()}) {
    const auto teacher = make_teacher(*corpus), student = make_model(*corpus, 16, 11);
    const auto at = [&](Communicator& communicator, int threads) {
      Place place(communicator, folder_, threads);
      return evaluate(*teacher, *student, *corpus->dataset, place.context);
    };
    const auto here = at(world(), 1);
    EXPECT_GT(here.counts[0].back(), corpus == even_.get() ? 1000 : 0) << "targets were ranked";
    EXPECT_EQ(at(world(), 2), here) << corpus->folder << ", two threads";
    EXPECT_EQ(at(*dist::make_single_communicator(torch::kCPU), 1), here) << corpus->folder << ", one rank";
  }
}

}  // namespace
}  // namespace decant::multirank
