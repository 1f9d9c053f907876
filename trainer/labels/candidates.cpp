// Scores of given candidates: the target first, then negatives drawn uniformly or by popularity, keyed by row and place;
// or the ids of another label set.
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <set>

#include "base/random.h"
#include "trainer/labels/columns.h"

namespace decant::trainer {
namespace {

struct CandidateOptions : base::Options {
  std::int64_t negatives = 100, seed = 1;
  std::string draw = "uniform", ids_from;
  void describe(base::Fields& fields) override {
    fields.integer("negatives", negatives, {1, 1e6}, "items scored beside the target, distinct and none of them it");
    fields.text("draw", draw, "of negatives; popularity: by how often an item occurs in training",
                {"uniform", "popularity"});
    fields.integer("seed", seed, {0, 9e15}, "of the draws, with row and place of the target");
    fields.text("ids_from", ids_from, "folder of a label set of the same data whose ids are scored in place of draws");
  }
};

class Candidates : public LabelKind {
 public:
  explicit Candidates(const CandidateOptions& options) : options_(options) {}

  std::vector<data::LabelColumn> columns(const LabelShape& shape) const override {
    std::int64_t width = options_.negatives + 1;
    if (!options_.ids_from.empty()) {
      const data::LabelSet source(options_.ids_from, shape.dataset, shape.max_length);
      width = source.spec().columns[source.spec().column("ids")].width + 1;
    } else if (shape.dataset.info().items < width) {
      throw base::ConfigError("'labels.negatives: " + std::to_string(options_.negatives) +
                              "' needs a catalogue of at least " + std::to_string(width) + " items; it has " +
                              std::to_string(shape.dataset.info().items));
    }
    return {{"ids", data::Element::kU32, width},
            {"logits", shape.values, width},
            {"peak", data::Element::kF32, 1},
            {"target_logit", data::Element::kF32, 1}};
  }

  void make(const TeacherBlock& block, data::LabelRows& out) const override {
    const auto others = options_.ids_from.empty() ? drawn(block) : given(block, out.spec->max_length);
    const auto target = block.targets.unsqueeze(1);
    const auto ids =
        at::cat({target, others.to(block.targets.device()).masked_fill(others.to(target.device()) == target, -1)}, 1);
    const auto logits = block.table->walk(block.hidden, {{}, ids, 0}).logits;
    check_finite(block, logits);
    set_scores(out, ids, logits.masked_fill(ids < 0, -std::numeric_limits<float>::infinity()), {}, {});
    set_column(out, "target_logit", logits.select(1, 0));
  }

  TeacherLabels decode(const data::LabelRows& rows, const std::set<double>&, torch::Device device) const override {
    return decode_scores(rows, {}, {}, device);
  }
  std::int64_t ids() const override { return options_.negatives + 1; }
  bool has_moments() const override { return false; }

 private:
  /// [targets, negatives] distinct, not the target; -1 where popularity offers no further item.
  torch::Tensor drawn(const TeacherBlock& block) const {
    const auto keys = target_keys(block.batch, static_cast<std::uint64_t>(options_.seed));
    const std::int64_t n = options_.negatives, items = block.table->items();
    auto out = at::empty({static_cast<std::int64_t>(keys.size()), n}, torch::kInt64).fill_(-1);
    const std::vector<std::int64_t> mass =
        options_.draw == "popularity" ? cumulated(block.dataset) : std::vector<std::int64_t>{};
    for (std::size_t t = 0; t < keys.size(); ++t) {
      auto* row = out.data_ptr<std::int64_t>() + static_cast<std::int64_t>(t) * n;
      std::set<std::int64_t> seen{block.batch.target_ids[t]};
      std::int64_t found = 0;
      for (std::uint64_t i = 0; found < n && i < static_cast<std::uint64_t>(64 * (n + items)); ++i) {
        const std::int64_t id = pick(base::draw(keys[t], i), items, mass);
        if (seen.insert(id).second) row[found++] = id;
      }
    }
    return out;
  }

  static std::int64_t pick(std::uint64_t bits, std::int64_t items, const std::vector<std::int64_t>& mass) {
    if (mass.empty()) return static_cast<std::int64_t>(base::below(bits, static_cast<std::uint64_t>(items)));
    const auto place = static_cast<std::int64_t>(base::below(bits, static_cast<std::uint64_t>(mass.back())));
    return std::upper_bound(mass.begin(), mass.end(), place) - mass.begin();
  }

  static std::vector<std::int64_t> cumulated(const data::Dataset& dataset) {
    std::vector<std::int64_t> mass;
    for (const auto count : dataset.training_counts()) mass.push_back((mass.empty() ? 0 : mass.back()) + count);
    return mass;
  }

  torch::Tensor given(const TeacherBlock& block, std::int64_t max_length) const {
    std::call_once(opened_, [&] {
      source_ = std::make_unique<data::LabelSet>(options_.ids_from, block.dataset, max_length, std::size_t{64} << 20);
    });
    return get_column(source_->read(block.batch), "ids", torch::kCPU);
  }

  CandidateOptions options_;
  mutable std::once_flag opened_;
  mutable std::unique_ptr<data::LabelSet> source_;
};

}  // namespace

void add_candidates(LabelKindRegistry& registry) {
  registry.add<CandidateOptions>("candidates",
                                 [](const CandidateOptions& o) { return std::make_shared<Candidates>(o); });
}

}  // namespace decant::trainer
