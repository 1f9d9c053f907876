// InfoNCE in the batch (van den Oord, Li, Vinyals 2018): the student's row, mapped to the teacher's width, is to find its
// own teacher vector among those of the whole step, by cosine over a temperature; by option also the other way round.
#include <ATen/ops/logsumexp.h>

#include "trainer/losses/vectors.h"
#include "trainer/row_gather.h"

namespace decant::trainer {
namespace {

struct InfoNceOptions : BatchVectorOptions {
  double temperature = 0.07;
  bool symmetric = false;
  void describe(base::Fields& fields) override {
    BatchVectorOptions::describe(fields);
    fields.real("temperature", temperature, {1e-3, 100}, "that cosines are divided by");
    fields.flag("symmetric", symmetric, "half of it is the teacher's vector finding the student's row");
  }
};

class InfoNce : public ProjectedLoss {
 public:
  explicit InfoNce(const InfoNceOptions& options)
      : ProjectedLoss(options),
        choice_(options.targets),
        temperature_(options.temperature),
        symmetric_(options.symmetric) {}
  LossNeeds needs() const override {
    auto needs = ProjectedLoss::needs();
    needs.scope = Scope::kBatch;
    return needs;
  }
  double weight(const data::LabelledBatch& batch) const override { return choice_.weight(batch); }
  torch::Tensor sum(const LossInputs& in) override {
    const auto kept = choice_.of(in);
    const auto student = unit_rows(projected(in).index_select(0, kept));
    const auto teacher = unit_rows(in.teacher.vectors.index_select(0, kept));
    const auto own = (student * teacher).sum(1) / temperature_;
    auto losses = find(student, teacher, own, *in.rows);
    if (symmetric_) losses = (losses + find(teacher, student, own, *in.rows)) / 2;
    return (losses * in.target_weights.index_select(0, kept)).sum();
  }

 private:
  [[nodiscard]] torch::Tensor find(const torch::Tensor& from, const torch::Tensor& among, const torch::Tensor& own,
                                   RowGather& rows) const {
    const auto all = rows.gather(among.contiguous()).rows;
    if (all.size(0) == 0) return own;  // nobody has a row
    return at::logsumexp(from.mm(all.t()) / temperature_, 1) - own;
  }

  TargetChoice choice_;
  double temperature_;
  bool symmetric_;
};

}  // namespace

void add_info_nce(LossRegistry& registry) {
  registry.add<InfoNceOptions>("info_nce", [](const InfoNceOptions& o) { return std::make_shared<InfoNce>(o); });
}

}  // namespace decant::trainer
