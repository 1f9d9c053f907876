// Items drawn from the teacher's own distribution at a declared temperature, with how often each came: an unbiased
// estimate of it, where the k best are a biased one (random sampling KD, arXiv 2503.16870). The rest is that of the items
// that were not drawn, exact.
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "base/random.h"
#include "trainer/labels/columns.h"

namespace decant::trainer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct SampledOptions : RestOptions {
  std::int64_t draws = 50, seed = 1;
  double drawn_at = 1;
  void describe(base::Fields& fields) override {
    fields.integer("draws", draws, {1, 1e6}, "draws a target, with replacement");
    fields.real("drawn_at", drawn_at, {0.05, 100}, "temperature of the distribution that is drawn from, and estimated");
    fields.integer("seed", seed, {0, 9e15}, "of the draws, with row and place of the target");
    RestOptions::describe(fields);
  }
};

class Sampled : public KindWithRest {
 public:
  explicit Sampled(const SampledOptions& options) : KindWithRest(options, options.draws), options_(options) {}

  std::vector<data::LabelColumn> columns(const LabelShape& shape) const override {
    auto columns = KindWithRest::columns(shape);
    columns.insert(columns.begin() + 1, {"counts", data::Element::kU32, columns.front().width});
    return columns;
  }

  void make(const TeacherBlock& block, data::LabelRows& out) const override {
    const auto keys = target_keys(block.batch, static_cast<std::uint64_t>(options_.seed));
    const std::int64_t k = std::min(options_.draws, block.table->items());
    std::vector<torch::Tensor> ids, counts, logits, rest, own, rank;
    for_each_logits(block, [&](std::int64_t first, const torch::Tensor& all) {
      auto [drawn, times] = draw(all, keys, first, k);
      const auto by_logit = all.gather(1, drawn.clamp_min(0)).masked_fill(drawn < 0, -kInfinity);
      const auto order = by_logit.argsort(/*stable=*/true, 1, /*descending=*/true);  // ids ascend: ties lower id first
      ids.push_back(drawn.gather(1, order));
      counts.push_back(times.gather(1, order));
      logits.push_back(by_logit.gather(1, order));
      // Absent places point at the row's first drawn item, which is masked anyway.
      const auto masked = all.scatter(1, ids.back().where(ids.back() >= 0, ids.back().narrow(1, 0, 1)), -kInfinity);
      std::vector<torch::Tensor> at_each;
      for (const double t : options_.temperatures) at_each.push_back(at::logsumexp(masked / t, 1));
      if (!at_each.empty()) rest.push_back(at::stack(at_each, 1));
      const auto targets = block.targets.narrow(0, first, all.size(0));
      own.push_back(all.gather(1, targets.unsqueeze(1)).squeeze(1));
      rank.push_back(rank_among(all, targets));
    });
    set_scores(out, at::cat(ids), at::cat(logits), rest.empty() ? torch::Tensor() : at::cat(rest),
               options_.temperatures);
    set_column(out, "counts", at::cat(counts));
    set_column(out, "target_logit", at::cat(own));
    set_column(out, "target_rank", at::cat(rank));
    set_moments(out, block);
  }

  TeacherLabels decode(const data::LabelRows& rows, const std::set<double>& temperatures,
                       torch::Device device) const override {
    auto labels = KindWithRest::decode(rows, temperatures, device);
    labels.draw_weights = get_column(rows, "counts", device).to(torch::kFloat32) / static_cast<double>(options_.draws);
    labels.drawn_at = options_.drawn_at;
    return labels;
  }
  double drawn_at() const override { return options_.drawn_at; }
  bool whole_rows() const override { return true; }

 private:
  /// Distinct items ascending, -1 after them, and how often each was drawn; [rows, k] int64 on the logits' device.
  std::pair<torch::Tensor, torch::Tensor> draw(const torch::Tensor& logits, const std::vector<std::uint64_t>& keys,
                                               std::int64_t first, std::int64_t k) const {
    const std::int64_t rows = logits.size(0), draws = options_.draws;
    const auto mass = (logits.to(torch::kFloat64) / options_.drawn_at).softmax(1).cumsum(1);
    auto places = at::empty({rows, draws}, torch::kFloat64);
    auto* place = places.data_ptr<double>();
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t i = 0; i < draws; ++i)
        place[r * draws + i] =
            base::unit(base::draw(keys[static_cast<std::size_t>(first + r)], static_cast<std::uint64_t>(i)));
    const auto scaled = places.to(mass.device()) * mass.narrow(1, mass.size(1) - 1, 1);
    const auto drawn = at::searchsorted(mass, scaled, /*out_int32=*/false, /*right=*/true)
                           .clamp_max(mass.size(1) - 1)
                           .cpu()
                           .contiguous();
    auto ids = at::empty({rows, k}, torch::kInt64).fill_(-1), counts = at::zeros({rows, k}, torch::kInt64);
    for (std::int64_t r = 0; r < rows; ++r) {
      auto* begin = drawn.data_ptr<std::int64_t>() + r * draws;
      std::sort(begin, begin + draws);
      auto* id = ids.data_ptr<std::int64_t>() + r * k;
      auto* count = counts.data_ptr<std::int64_t>() + r * k;
      std::int64_t at = -1;
      for (std::int64_t i = 0; i < draws; ++i) {
        if (i == 0 || begin[i] != begin[i - 1]) id[++at] = begin[i];
        ++count[at];
      }
    }
    return {ids.to(logits.device()), counts.to(logits.device())};
  }

  SampledOptions options_;
};

}  // namespace

void add_sampled(LabelKindRegistry& registry) {
  registry.add<SampledOptions>("sampled", [](const SampledOptions& o) { return std::make_shared<Sampled>(o); });
}

}  // namespace decant::trainer
