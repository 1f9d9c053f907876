// The fewest best items that hold the probability p at T = 1, at most k; the rest as in topk.
#include <ATen/ops/full_like.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/stack.h>

#include <limits>

#include "trainer/labels/columns.h"

namespace decant::trainer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct TopPOptions : RestOptions {
  double p = 0.9;
  std::int64_t k = 100;
  void describe(base::Fields& fields) override {
    fields.real("p", p, {1e-6, 1}, "probability at T = 1 that the stored items reach together");
    fields.integer("k", k, {1, 1e6}, "items stored a target at most");
    RestOptions::describe(fields);
  }
};

class TopP : public KindWithRest {
 public:
  explicit TopP(const TopPOptions& options) : KindWithRest(options, options.k), options_(options) {}

  void make(const TeacherBlock& block, data::LabelRows& out) const override {
    auto temperatures = options_.temperatures;
    temperatures.push_back(1);  // what p is of
    const std::int64_t k = std::min(options_.k, block.table->items());
    const auto best = block.table->topk(block.hidden, {k, temperatures, block.targets});
    check_finite(block, best.logits);
    check_finite(block, best.target_logit);
    const auto full = at::logsumexp(best.logits, 1).logaddexp(best.rest_lse.select(1, best.rest_lse.size(1) - 1));
    const auto probability = (best.logits - full.unsqueeze(1)).exp().to(torch::kFloat64);
    const auto dropped = (probability.cumsum(1) - probability) >= options_.p;  // reached before this item
    std::vector<torch::Tensor> rest;
    for (std::size_t t = 0; t < options_.temperatures.size(); ++t) {
      const auto tail = (best.logits / temperatures[t]).masked_fill(~dropped, -kInfinity);
      rest.push_back(at::logsumexp(tail, 1).logaddexp(best.rest_lse.select(1, static_cast<std::int64_t>(t))));
    }
    set_scores(out, best.ids.masked_fill(dropped, -1), best.logits.masked_fill(dropped, -kInfinity),
               rest.empty() ? torch::Tensor() : at::stack(rest, 1), options_.temperatures);
    set_column(out, "target_logit", best.target_logit);
    set_column(out, "target_rank", best.target_rank);
    set_moments(out, block);
  }

  bool ranked() const override { return true; }

 private:
  TopPOptions options_;
};

}  // namespace

void add_top_p(LabelKindRegistry& registry) {
  registry.add<TopPOptions>("top_p", [](const TopPOptions& o) { return std::make_shared<TopP>(o); });
}

}  // namespace decant::trainer
