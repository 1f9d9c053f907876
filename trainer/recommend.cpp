#include "trainer/recommend.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_set>

#include "data/packed_batch.h"
#include "trainer/errors.h"
#include "trainer/next_item.h"

namespace decant::trainer {
namespace {

constexpr std::int64_t kPoolFactor = 10;

/// Takes items as they come, the best first, for one row.
class Picker {
 public:
  Picker(const ItemRules& rules, const RecommendOptions& options, const std::vector<std::int64_t>& history)
      : rules_(rules), per_category_(options.per_category) {
    if (options.seen == "drop") seen_.insert(history.begin(), history.end());
  }
  bool admits(std::int64_t item) {
    if (seen_.contains(item)) return false;
    const auto at = static_cast<std::size_t>(item);
    if (!rules_.allowed.empty() && !rules_.allowed[at]) return false;
    if (per_category_ == 0 || rules_.category.empty() || rules_.category[at] < 0) return true;
    return ++taken_[rules_.category[at]] <= per_category_;
  }

 private:
  const ItemRules& rules_;
  std::int64_t per_category_;
  std::unordered_set<std::int64_t> seen_;
  std::map<std::int64_t, std::int64_t> taken_;
};

}  // namespace

void RecommendOptions::describe(base::Fields& fields) {
  fields.integer("k", k, {1, 1e6}, "items a history");
  fields.text("side", side, "whose: the model that the run has trained", {"teacher", "student", "control"});
  fields.text("seen", seen, "items that the history has already", {"drop", "keep"});
  fields.text("allow", allow, "a file of the items that may come, an original id a line");
  fields.text("block", block, "a file of the items that may not");
  fields.text("categories", categories, "a file of lines: an original id, a tab, a category");
  fields.text("key_file", key_file, "the key of a dataset of pseudonyms: ids that come in are replaced by theirs");
  fields.integer("per_category", per_category, {0, 1e6}, "at most so many of a category; 0: any number");
  fields.real("diversity", diversity, {0, 0.99}, "weight of being unlike what is chosen already; 0: the score alone");
}

Recommender::Recommender(std::shared_ptr<models::SequenceModel> model, const RecommendOptions& options, ItemRules rules,
                         data::UserColumns users, data::EventColumns events)
    : model_(std::move(model)),
      options_(options),
      rules_(std::move(rules)),
      users_(std::move(users)),
      events_(std::move(events)) {
  if (options_.per_category > 0 && rules_.category.empty())
    throw base::ConfigError("--per-category needs --categories, a file of items and their categories");
  model_->eval();
}

torch::Tensor Recommender::hidden_of(const Histories& histories) const {
  data::PackedBatch batch;
  batch.offsets = {0};
  batch.columns = {{"items", {}}};
  users_.begin(batch);
  // A column that is not there says what one without values does.
  const bool tells =
      std::any_of(histories.begin(), histories.end(), [](auto* asked) { return !asked->values.empty(); });
  if (tells) events_.begin(batch);
  auto& items = batch.columns.front().values;
  for (const auto* asked : histories) {
    const auto& history = asked->items;
    const auto used = std::min<std::ptrdiff_t>(std::ssize(history), model_->max_length());
    users_.add(batch, asked->user, used);
    for (std::size_t c = 0; tells && c < events_.columns().size(); ++c)
      events_.add(batch, c, asked->values.empty() ? data::EventValues() : asked->values[c].all(),
                  history.size() - static_cast<std::size_t>(used), static_cast<std::size_t>(used));
    items.insert(items.end(), history.end() - used, history.end());
    batch.sample_ids.push_back(std::ssize(batch.sample_ids));
    batch.window_starts.push_back(std::ssize(history) - used);
    batch.offsets.push_back(std::ssize(items));
    batch.target_tokens.push_back(std::ssize(items) - 1);
  }
  return model_->forward(make_inputs(batch, model_->parameters().front().device(), 0)).scores.hidden;
}

std::vector<Recommender::Candidates> Recommender::best(const torch::Tensor& hidden, const Histories& histories,
                                                       std::int64_t count) const {
  const std::int64_t items = model_->table().items();
  std::int64_t longest = 0;
  for (const auto* asked : histories) longest = std::max(longest, static_cast<std::int64_t>(asked->items.size()));
  std::vector<Candidates> out;
  // Rules may refuse any number of the best items: where too few are left, look deeper.
  for (std::int64_t depth = std::min(items, count + longest);; depth = std::min(items, 4 * depth)) {
    models::TopKRequest request;
    request.k = depth;
    const auto found = model_->table().topk(hidden, request);
    const auto ids = found.ids.cpu(), logits = found.logits.cpu();
    out.assign(histories.size(), {});
    bool short_of = false;
    for (std::size_t row = 0; row < histories.size(); ++row) {
      Picker picker(rules_, options_, histories[row]->items);
      const auto* id = ids.data_ptr<std::int64_t>() + static_cast<std::int64_t>(row) * depth;
      const auto* logit = logits.data_ptr<float>() + static_cast<std::int64_t>(row) * depth;
      for (std::int64_t i = 0; i < depth && std::ssize(out[row]) < count; ++i) {
        if (!std::isfinite(logit[i]))
          throw NumericError("a score of history " + std::to_string(row) + " is not finite");
        if (picker.admits(id[i])) out[row].push_back({id[i], logit[i]});
      }
      short_of = short_of || std::ssize(out[row]) < count;
    }
    if (!short_of || depth == items) return out;
  }
}

Recommender::Candidates Recommender::diverse(const Candidates& pool) const {
  if (pool.empty()) return {};
  std::vector<std::int64_t> ids;
  for (const auto& one : pool) ids.push_back(one.item);
  auto vectors = model_->table().lookup(torch::tensor(ids, torch::kInt64).to(model_->parameters().front().device()));
  vectors = vectors / vectors.norm(2, 1, true).clamp_min(1e-12);
  const auto similarity = vectors.mm(vectors.t()).cpu().contiguous();
  const auto* cosine = similarity.data_ptr<float>();
  const std::size_t n = pool.size();
  const double best = pool.front().score, span = std::max(1e-12, best - static_cast<double>(pool.back().score));
  std::vector<double> nearest(n, 0);
  std::vector<bool> taken(n, false);
  Candidates out;
  while (std::ssize(out) < options_.k && out.size() < n) {
    std::size_t chosen = n;
    double most = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double relevance = 1 - (best - static_cast<double>(pool[i].score)) / span;
      const double worth = (1 - options_.diversity) * relevance - options_.diversity * nearest[i];
      if (!taken[i] && (chosen == n || worth > most)) chosen = i, most = worth;
    }
    taken[chosen] = true;
    out.push_back(pool[chosen]);
    for (std::size_t i = 0; i < n; ++i) nearest[i] = std::max(nearest[i], static_cast<double>(cosine[chosen * n + i]));
  }
  return out;
}

std::vector<std::vector<Recommended>> Recommender::operator()(const std::vector<AskedHistory>& histories) {
  const torch::NoGradGuard no_grad;
  Histories known;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < histories.size(); ++i) {
    if (histories[i].items.empty()) continue;
    known.push_back(&histories[i]);
    places.push_back(i);
  }
  std::vector<Candidates> out(histories.size());
  if (known.empty()) return out;
  auto found = best(hidden_of(known), known, options_.diversity > 0 ? kPoolFactor * options_.k : options_.k);
  for (std::size_t i = 0; i < places.size(); ++i)
    out[places[i]] = options_.diversity > 0 ? diverse(found[i]) : std::move(found[i]);
  return out;
}

}  // namespace decant::trainer
