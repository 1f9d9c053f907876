// The best next items of histories: what a finished model is asked when it serves.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "data/batch_columns.h"
#include "data/event_columns.h"
#include "models/model.h"

namespace decant::trainer {

struct RecommendOptions : base::Options {
  std::int64_t k = 10;
  std::string side = "student";   // teacher | student | control
  std::string seen = "drop";      // drop | keep: items of the history
  std::string allow, block;       // files of original ids, one a line; empty: no list
  std::string categories;         // file of an original id, a tab, a category
  std::string key_file;           // of a dataset of pseudonyms: ids that come in are replaced by them
  std::int64_t per_category = 0;  // at most so many of one category; 0: any number
  double diversity = 0;           // weight of being unlike what is chosen already; 0: by score alone
  void describe(base::Fields& fields) override;
};

struct Recommended {
  std::int64_t item = 0;
  float score = 0;  // the model's logit
};

/// Which items may be recommended, and their categories.
struct ItemRules {
  std::vector<bool> allowed;           // [items]; empty: all
  std::vector<std::int64_t> category;  // [items], -1: none, of which any number may come; empty: no categories
};

/// One history that is asked about.
struct AskedHistory {
  std::vector<std::int64_t> items;       // in the order of time; the last `max_length` are used
  std::vector<data::ValueBlock> values;  // of each of the columns of events those of the items; empty: nothing is known
  std::int64_t user = -1;                // the row of its user in the dataset; -1: nobody that is known
};

/// Not thread-safe. The order is that of the evaluation's ranking: by logit, ties lower id first.
class Recommender {
 public:
  /// `users`, `events`: the columns that the model takes of them.
  Recommender(std::shared_ptr<models::SequenceModel> model, const RecommendOptions& options, ItemRules rules,
              data::UserColumns users = {}, data::EventColumns events = {});
  /// Up to k items for each history, the best first; none for an empty history. `diversity` d above 0 chooses from the
  /// 10 k best by maximal marginal relevance (Carbonell, Goldstein 1998): (1 - d) times the score, scaled to [0, 1] over
  /// those, less d times the largest cosine to an item that is chosen already. Throws NumericError for a score that is
  /// not finite.
  [[nodiscard]] std::vector<std::vector<Recommended>> operator()(const std::vector<AskedHistory>& histories);

 private:
  using Candidates = std::vector<Recommended>;
  using Histories = std::vector<const AskedHistory*>;
  [[nodiscard]] torch::Tensor hidden_of(const Histories& histories) const;
  /// The `count` best items of every row that the rules and its history admit, fewer where there are not as many.
  [[nodiscard]] std::vector<Candidates> best(const torch::Tensor& hidden, const Histories& histories,
                                             std::int64_t count) const;
  [[nodiscard]] Candidates diverse(const Candidates& pool) const;

  std::shared_ptr<models::SequenceModel> model_;
  RecommendOptions options_;
  ItemRules rules_;
  data::UserColumns users_;
  data::EventColumns events_;
};

}  // namespace decant::trainer
