// Every logit, in the order of items: for small catalogues, and as what truncated labels are measured against.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include <limits>

#include "trainer/labels/columns.h"

namespace decant::trainer {
namespace {

struct DenseOptions : base::Options {
  std::int64_t limit_mib = 4096;
  void describe(base::Fields& fields) override {
    fields.integer("limit_mib", limit_mib, {1, 1e9}, "MiB of labels before compression above which they are refused");
  }
};

class Dense : public LabelKind {
 public:
  explicit Dense(const DenseOptions& options) : options_(options) {}

  std::vector<data::LabelColumn> columns(const LabelShape& shape) const override {
    const std::int64_t items = shape.dataset.info().items;
    const std::int64_t mib = data::training_targets(shape.dataset, shape.max_length) * items *
                                 static_cast<std::int64_t>(data::bytes_of(shape.values)) >>
                             20;
    if (mib > options_.limit_mib)
      throw base::ConfigError("dense labels would take " + std::to_string(mib) + " MiB: above 'labels.limit_mib: " +
                              std::to_string(options_.limit_mib) + "'; choose another 'labels.kind' or raise it");
    auto columns = score_columns();
    columns.insert(columns.begin(), {"logits", shape.values, items});
    return columns;
  }

  void make(const TeacherBlock& block, data::LabelRows& out) const override {
    std::vector<torch::Tensor> all, own, rank;
    for_each_logits(block, [&](std::int64_t first, const torch::Tensor& logits) {
      const auto targets = block.targets.narrow(0, first, logits.size(0));
      all.push_back(logits);
      own.push_back(logits.gather(1, targets.unsqueeze(1)).squeeze(1));
      rank.push_back(rank_among(logits, targets));
    });
    set_scores(out, {}, at::cat(all), {}, {});
    set_column(out, "target_logit", at::cat(own));
    set_column(out, "target_rank", at::cat(rank));
    set_moments(out, block);
  }

  TeacherLabels decode(const data::LabelRows& rows, const std::set<double>& temperatures,
                       torch::Device device) const override {
    auto labels = decode_scores(rows, {}, {}, device);
    labels.ids = at::arange(rows.spec->items, torch::TensorOptions(device).dtype(torch::kInt64))
                     .expand({rows.targets, rows.spec->items});
    for (const double t : temperatures)
      labels.rest_lse[t] = at::full({rows.targets}, -std::numeric_limits<float>::infinity(),
                                    torch::TensorOptions(device).dtype(torch::kFloat32));
    return labels;
  }
  std::int64_t ids() const override { return std::numeric_limits<std::int64_t>::max(); }
  bool has_rest(double) const override { return true; }
  bool whole_rows() const override { return true; }

 private:
  DenseOptions options_;
};

}  // namespace

void add_dense(LabelKindRegistry& registry) {
  registry.add<DenseOptions>("dense", [](const DenseOptions& o) { return std::make_shared<Dense>(o); });
}

}  // namespace decant::trainer
