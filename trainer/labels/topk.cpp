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

class TopK : public LabelKind {
 public:
  explicit TopK(const TopKOptions& options) : options_(options) {}

  std::vector<data::LabelColumn> columns(const LabelShape& shape) const override {
    const std::int64_t k = std::min(options_.k, shape.dataset.info().items);
    auto columns = score_columns();
    const auto temperatures = static_cast<std::int64_t>(options_.temperatures.size());
    if (temperatures > 0) columns.insert(columns.begin(), {"rest_lse", data::Element::kF32, temperatures});
    columns.insert(columns.begin(), {{"ids", data::Element::kU32, k}, {"logits", shape.values, k}});
    return columns;
  }

  void make(const TeacherBlock& block, data::LabelRows& out) const override {
    const std::int64_t k = std::min(options_.k, block.table->items());
    const auto best = block.table->topk(block.hidden, {k, options_.temperatures, block.targets});
    check_finite(block, best.logits);
    check_finite(block, best.target_logit);
    check_finite(block, best.rest_lse.masked_fill(best.rest_lse.isneginf(), 0));
    set_scores(out, best.ids, best.logits, best.rest_lse, options_.temperatures);
    set_column(out, "target_logit", best.target_logit);
    set_column(out, "target_rank", best.target_rank);
    set_moments(out, block);
  }

  TeacherLabels decode(const data::LabelRows& rows, const std::set<double>& temperatures,
                       torch::Device device) const override {
    return decode_scores(rows, options_.temperatures, temperatures, device);
  }
  std::int64_t ids() const override { return options_.k; }
  bool ranked() const override { return true; }
  bool has_rest(double t) const override {
    return std::find(options_.temperatures.begin(), options_.temperatures.end(), t) != options_.temperatures.end();
  }

 private:
  TopKOptions options_;
};

}  // namespace

void add_topk(LabelKindRegistry& registry) {
  registry.add<TopKOptions>("topk", [](const TopKOptions& o) { return std::make_shared<TopK>(o); });
}

}  // namespace decant::trainer
