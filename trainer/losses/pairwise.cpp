// Pairs of stored items that the teacher tells apart, t_i > t_j. bpr: -log sigmoid(s_i - s_j) (Rendle et al. 2009);
// margin: max(0, m - (s_i - s_j)) with a constant m or the teacher's own difference. Mean over a target's pairs.
#include <ATen/ops/log_sigmoid.h>

#include <algorithm>

#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

struct PairOptions : LabelLossOptions {
  std::int64_t depth = 20;
  double tie = 1e-6;
  void describe(base::Fields& fields) override {
    LabelLossOptions::describe(fields);
    fields.integer("depth", depth, {2, 4096}, "of the teacher's best items; the cost grows with its square");
    fields.real("tie", tie, {0, 1e6}, "the teacher's logits must be further apart");
  }
};

struct MarginOptions : PairOptions {
  std::string margin = "teacher";
  double constant = 1;
  void describe(base::Fields& fields) override {
    PairOptions::describe(fields);
    fields.text("margin", margin, "what a pair is to be apart: as in the teacher, or `constant`",
                {"teacher", "constant"});
    fields.real("constant", constant, {0, 1e6}, "with margin: constant");
  }
};

class Pairs : public Loss {
 public:
  explicit Pairs(const PairOptions& options) : depth_(options.depth), tie_(options.tie) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.labels = needs.label_logits = true;
    needs.least_k = 2;
    needs.label_kinds = {"topk", "top_p", "dense", "candidates"};
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto best = in.teacher.logits.topk(std::min(depth_, in.teacher.ids.size(1)), 1);
    const auto apart = [](const torch::Tensor& z) { return z.unsqueeze(2) - z.unsqueeze(1); };  // [targets, i, j]
    const auto none = in.teacher.ids.gather(1, std::get<1>(best)) < 0;
    const auto teacher = apart(std::get<0>(best).masked_fill(none, 0));
    const auto student = apart(in.student.label_logits.gather(1, std::get<1>(best)).masked_fill(none, 0));
    const auto told = (teacher > tie_) & ~none.unsqueeze(1) & ~none.unsqueeze(2);
    const auto values = of_pairs(student, teacher).masked_fill(~told, 0).sum({1, 2});
    return (values / told.sum({1, 2}).clamp_min(1) * in.target_weights).sum();
  }

 protected:
  [[nodiscard]] virtual torch::Tensor of_pairs(const torch::Tensor& student, const torch::Tensor& teacher) const = 0;

 private:
  std::int64_t depth_;
  double tie_;
};

class Bpr : public Pairs {
  using Pairs::Pairs;
  [[nodiscard]] torch::Tensor of_pairs(const torch::Tensor& student, const torch::Tensor&) const override {
    return -at::log_sigmoid(student);
  }
};

class Margin : public Pairs {
 public:
  explicit Margin(const MarginOptions& options)
      : Pairs(options), constant_(options.margin == "constant"), margin_(options.constant) {}

 private:
  [[nodiscard]] torch::Tensor of_pairs(const torch::Tensor& student, const torch::Tensor& teacher) const override {
    return (constant_ ? margin_ - student : teacher - student).clamp_min(0);
  }
  bool constant_;
  double margin_;
};

}  // namespace

void add_pairwise(LossRegistry& registry) {
  registry.add<PairOptions>("bpr", [](const PairOptions& o) { return std::make_shared<Bpr>(o); });
  registry.add<MarginOptions>("margin", [](const MarginOptions& o) { return std::make_shared<Margin>(o); });
}

}  // namespace decant::trainer
