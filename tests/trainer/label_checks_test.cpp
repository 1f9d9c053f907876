// What is refused at the start of a job about its label sets.
#include "trainer/label_checks.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "data/label_store.h"
#include "tests/trainer/support.h"

namespace decant::trainer {
namespace {

using base::Json;
using Changes = std::vector<std::pair<std::string, Json>>;

void check(const Changes& changes) {
  static const Registries registries = default_registries();
  Json tree{{"version", 1}, {"run", {{"folder", "run"}}}, {"data", {{"dataset", "data"}}}};
  tree["losses"]["ce"] = Json::object();
  tree["labels"]["sets"] = {{"states", {{"kind", "hidden"}}},
                            {"list", {{"kind", "candidates"}}},
                            {"drawn", {{"kind", "sampled"}}},
                            {"whole", {{"kind", "dense"}}},
                            {"nucleus", {{"kind", "top_p"}}}};
  for (const auto& [key, value] : changes) base::set_key(tree, key, value);
  JobOptions job(registries);
  base::read_options(tree, job);
  job.check();
}

std::string refusal(const Changes& changes) {
  return testing_support::message_of<base::ConfigError>([&] { check(changes); });
}

TEST(LabelChecks, EveryKindServesTheLossesMadeForIt) {
  for (const auto& [loss, set] : std::map<std::string, std::string>{{"hint", "states"},
                                                                    {"cosine", "states"},
                                                                    {"pkd", "states"},
                                                                    {"rkd_distance", "states"},
                                                                    {"margin_mse", "list"},
                                                                    {"list_kl", "list"},
                                                                    {"kl_sampled", "drawn"},
                                                                    {"kl_tail", "whole"},
                                                                    {"logit_std", "nucleus"},
                                                                    {"rrd", "nucleus"}}) {
    const Json temperature =
        loss == "kl_sampled" ? Json{{"labels", {set}}, {"temperature", 1}} : Json{{"labels", {set}}};
    EXPECT_NO_THROW(check({{"losses." + loss, temperature}})) << loss;
  }
}

TEST(LabelChecks, ALossNamesTheSetAndItsKind) {
  const auto wrong = refusal({{"losses.kl_tail.labels", {"teacher", "states"}}});
  for (const auto* part : {"loss 'kl_tail' works on labels of kind dense or top_p or topk",
                           "label set 'states' is of kind hidden", "'labels.sets.states.kind'"})
    EXPECT_CONTAINS(wrong, part);
  EXPECT_CONTAINS(refusal({{"losses.hint.labels", {"teacher"}}}), "label set 'teacher' is of kind topk");
  EXPECT_CONTAINS(refusal({{"losses.hint.labels", {"online"}}}), "label set 'online' is of kind topk");
  EXPECT_CONTAINS(refusal({{"losses.hint", Json::object()}}), "the label set 'hidden', which is not in 'labels.sets'");
  EXPECT_CONTAINS(refusal({{"losses.rrd.labels", {"whole"}}}), "label set 'whole' is of kind dense");
  EXPECT_CONTAINS(refusal({{"losses.kl_sampled", {{"labels", {"drawn"}}, {"temperature", 2}}}}),
                  "loss 'kl_sampled' works at temperature 2.0, and label set 'drawn' is of kind sampled, drawn at 1.0");
  EXPECT_CONTAINS(refusal({{"losses.kl_tail", {{"labels", {"nucleus"}}, {"temperature", 2.5}}}}),
                  "not among 'labels.sets.nucleus.temperatures'");
}

TEST(LabelChecks, SharingAsksEverySet) {
  const auto shared = [](const std::string& rule, const std::string& other) {
    return Changes{{"losses.margin_mse", {{"labels", {"teacher", other}}, {"sharing", rule}}}};
  };
  for (const auto* rule : {"fixed", "confidence", "disagreement", "gate"})
    EXPECT_NO_THROW(check(shared(rule, "nucleus"))) << rule;
  EXPECT_NO_THROW(check(shared("fixed", "list")));
  EXPECT_CONTAINS(refusal(shared("confidence", "list")), "works at temperature 1.0, which is not among");
  EXPECT_CONTAINS(refusal(shared("disagreement", "whole")), "'sharing: disagreement'");
  EXPECT_CONTAINS(refusal({{"losses.mse.sharing", "confidence"}}), "it has one");
}

TEST(LabelChecks, ScreeningAsksTheSetsThatAreRead) {
  EXPECT_CONTAINS(refusal({{"losses.margin_mse.labels", {"list"}}, {"student.screening.most_rank", 3}}),
                  "among the best items, and label set 'list' is of kind candidates");
  EXPECT_CONTAINS(refusal({{"losses.hint.labels", {"states"}}, {"student.screening.least_probability", 0.1}}),
                  "probabilities at T = 1");
  EXPECT_NO_THROW(check({{"losses.mse.labels", {"nucleus"}}, {"student.screening.most_rank", 3}}));
}

TEST(LabelChecks, NamesThatCannotBe) {
  EXPECT_CONTAINS(refusal({{"labels.sets.online.kind", "topk"}}), "never stored");
  EXPECT_CONTAINS(refusal({{"labels.sets.teacher.kind", "topk"}}), "described by 'labels' itself");
  EXPECT_CONTAINS(refusal({{"labels.sets", {{"a/b", Json::object()}}}}), "the name 'a/b' may have letters");
  EXPECT_CONTAINS(refusal({{"labels.sets.list.teacher", "second"}}), "'labels.sets.list.teacher' is 'second'");
}

TEST(LabelChecks, ColumnsThatAnotherProgramLeftOutAreMissed) {
  const testing_support::TempFolder folder;
  data::testing_support::write_rows(folder / "dataset", data::testing_support::ragged_rows(60));
  const data::Dataset dataset(folder / "dataset");
  data::LabelSpec spec;
  spec.key = spec.recipe = spec.teacher = spec.teacher_hash = "other";
  spec.catalogue_hash = dataset.info().catalogue_hash, spec.content_hash = dataset.info().content_hash;
  spec.max_length = 50, spec.items = dataset.info().items, spec.rows = dataset.info().rows;
  spec.options = {{"k", 2}, {"temperatures", {1, 2}}};
  spec.columns = {{"ids", data::Element::kU32, 2}, {"logits", data::Element::kF16, 2}};
  const data::LabelWriter writer(folder / "set", dataset, spec);
  writer.prepare();
  for (std::int64_t part = 0; part < writer.parts(); ++part) {
    data::LabelRows rows(writer.spec());
    const auto [first, last] = writer.part_rows(part);
    for (auto row = first; row < last; ++row) rows.targets += dataset.training_targets(row, spec.max_length);
    std::vector<std::uint32_t> ids;
    for (std::int64_t t = 0; t < rows.targets; ++t) ids.insert(ids.end(), {1, 2});
    rows.set("ids", ids);
    rows.set("logits", std::vector<std::uint16_t>(ids.size(), 0));
    writer.write_part(part, rows);
  }
  writer.finish();
  const Changes elsewhere{{"labels.folder", (folder / "set").string()}};
  const auto with = [&](const std::string& loss, const Json& options) {
    auto changes = elsewhere;
    changes.emplace_back("losses." + loss, options);
    return changes;
  };
  EXPECT_NO_THROW(check(with("mse", Json::object())));
  EXPECT_CONTAINS(refusal(with("kl_tail", {{"temperature", 2}})), "which is not among 'labels.temperatures'");
  EXPECT_CONTAINS(refusal(with("margin_mse", Json::object())), "the teacher's logit of the target");
  EXPECT_CONTAINS(refusal(with("logit_std", Json::object())), "the mean and variance");
}

}  // namespace
}  // namespace decant::trainer
