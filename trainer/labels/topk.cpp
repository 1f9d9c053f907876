// The teacher's k best items with their logits, and what is left of the distribution: the log-sum-exp over all others at
// a list of temperatures.
#include "trainer/labels/columns.h"

namespace decant::trainer {
namespace {

struct TopKOptions : RestOptions {
  std::int64_t k = 100;
  void describe(base::Fields& fields) override {
    fields.integer("k", k, {1, 1e6}, "best items stored a target (all items when the catalogue is smaller)");
    RestOptions::describe(fields);
  }
};

class TopK : public KindWithRest {
 public:
  explicit TopK(const TopKOptions& options) : KindWithRest(options, options.k) {}

  void make(const TeacherBlock& block, data::LabelRows& out) const override {
    const std::int64_t k = std::min(ids(), block.table->items());
    const auto best = block.table->topk(block.hidden, {k, temperatures(), block.targets});
    check_finite(block, best.logits);
    check_finite(block, best.target_logit);
    check_finite(block, best.rest_lse.masked_fill(best.rest_lse.isneginf(), 0));
    set_scores(out, best.ids, best.logits, best.rest_lse, temperatures());
    set_column(out, "target_logit", best.target_logit);
    set_column(out, "target_rank", best.target_rank);
    set_moments(out, block);
  }

  bool ranked() const override { return true; }
};

}  // namespace

void add_topk(LabelKindRegistry& registry) {
  registry.add<TopKOptions>("topk", [](const TopKOptions& o) { return std::make_shared<TopK>(o); });
}

}  // namespace decant::trainer
