// A program of your own: decant's command line with a model and a loss beside decant's (docs/add_a_model.md).
#include <ATen/ops/logcumsumexp.h>

#include "launch/run.h"
#include "models/ops/keyed.h"

namespace {

using namespace decant;

struct MarkovOptions : base::Options {
  std::int64_t dim = 64, max_length = 50;
  double dropout = 0;
  void describe(base::Fields& fields) override {
    fields.integer("dim", dim, {1, 8192}, "width of item vectors");
    fields.integer("max_length", max_length, {1, 1 << 20}, "longest window, in items");
    fields.real("dropout", dropout, {0, 0.99}, "of the last item's vector");
  }
};

/// Only the last item tells the next one: a factorised Markov chain (Rendle, Freudenthaler, Schmidt-Thieme 2010).
class Markov : public models::SequenceModel {
 public:
  Markov(const MarkovOptions& options, const models::ModelContext& context) : options_(options) {
    item_ = register_module("item", std::make_shared<models::LocalTable>(context.items, options.dim, context.seed));
    last_ = register_module("last", std::make_shared<models::LocalTable>(context.items, options.dim, context.seed + 1));
  }
  models::Output forward(const models::Inputs& inputs, const std::set<std::string>& wanted_taps) override {
    if (!wanted_taps.empty()) throw base::ConfigError("markov has no tap '" + *wanted_taps.begin() + "'");
    const auto rows = last_->lookup(inputs.items().index_select(0, inputs.score_tokens));
    const bool drops = is_training() && inputs.token_keys.defined();
    const auto keys = drops ? inputs.token_keys.index_select(0, inputs.score_tokens) : torch::Tensor();
    return {{models::keyed_dropout(rows, keys, /*site=*/1, options_.dropout), item_.get()}, {}};
  }
  models::Table& table() override { return *item_; }
  std::int64_t max_length() const override { return options_.max_length; }
  std::vector<std::string> tap_names() const override { return {}; }
  std::map<std::string, std::string> spec() const override {
    return {{"model", "markov"}, {"items", std::to_string(item_->items())}, {"dim", std::to_string(options_.dim)}};
  }

 private:
  MarkovOptions options_;
  std::shared_ptr<models::LocalTable> item_, last_;
};

struct ListMleOptions : trainer::LossOptions {
  std::int64_t depth = 10;
  void describe(base::Fields& fields) override {
    LossOptions::describe(fields);
    fields.integer("depth", depth, {2, 1e6}, "of the teacher's best items, whose order is taught");
  }
};

/// How likely the student draws the teacher's best items in the teacher's order (Xia, Liu, Wang, Zhang, Li 2008).
class ListMle : public trainer::Loss {
 public:
  explicit ListMle(const ListMleOptions& options) : depth_(options.depth) {}
  trainer::LossNeeds needs() const override { return {.label_logits = true, .labels = true, .least_k = depth_}; }
  torch::Tensor sum(const trainer::LossInputs& in) override {
    const auto best = in.student.label_logits.narrow(1, 0, depth_);  // [targets, depth], the teacher's first one first
    const auto left = at::logcumsumexp(best.flip(1), 1).flip(1);     // log-sum-exp of each item and those after it
    return ((left - best).mean(1) * in.target_weights).sum();
  }

 private:
  std::int64_t depth_;
};

}  // namespace

int main(int argc, char** argv) {
  auto registries = trainer::default_registries();
  registries.models.add<MarkovOptions>("markov", [](const MarkovOptions& options, const models::ModelContext& context) {
    return std::make_shared<Markov>(options, context);
  });
  registries.losses.add<ListMleOptions>("list_mle", [](const auto& o) { return std::make_shared<ListMle>(o); });
  return run(argc, argv, std::move(registries));
}
