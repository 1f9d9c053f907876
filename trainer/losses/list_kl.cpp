// Listwise KD: T^2 times a divergence of the two softmaxes over the scores of given candidates. Lists may be ragged; a
// list of one item adds 0.
#include "trainer/losses/divergence.h"

namespace decant::trainer {
namespace {

struct ListOptions : DivergenceOptions {
  ListOptions() { temperature = 1; }
};

class ListKl : public SoftenedLoss {
 public:
  explicit ListKl(const ListOptions& options) : SoftenedLoss(options, false), divergence_(options) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.labels = needs.label_logits = true;
    needs.label_kinds = {"candidates", "topk", "top_p"};
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto log_q = log_shares(in.teacher.logits / t()), log_p = log_shares(in.student.label_logits / t());
    return t() * t() * (divergence_.terms(log_q, log_p).sum(1) * in.target_weights).sum();
  }

 private:
  Divergence divergence_;
};

}  // namespace

void add_list_kl(LossRegistry& registry) {
  registry.add<ListOptions>("list_kl", [](const ListOptions& o) { return std::make_shared<ListKl>(o); });
}

}  // namespace decant::trainer
