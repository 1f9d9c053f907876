// A small student trained on datasets of several shapes, at the world's size and by one process.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/options.h"
#include "data/dataset.h"
#include "data/label_store.h"
#include "models/sasrec.h"
#include "tests/multirank/parity_support.h"
#include "trainer/labeller.h"
#include "trainer/next_item.h"
#include "trainer/train.h"

namespace decant::multirank {

/// A dataset, its labels of the kind topk, and the window they are used with.
struct Corpus {
  Corpus(const fs::path& folder_, std::int64_t max_length_) : folder(folder_), max_length(max_length_) {}
  fs::path folder;
  std::int64_t max_length;
  std::unique_ptr<data::Dataset> dataset{};
  std::unique_ptr<data::LabelStore> labels{};
};

/// step -> rows of this rank's micro-batches.
using SeenRows = std::map<std::int64_t, std::vector<std::int64_t>>;

struct Job {
  const Corpus* corpus = nullptr;
  data::BatchOptions batch;
  trainer::TrainOptions train;
  trainer::BalanceOptions balance;
  bool labels = true, mean_of_ranks = false;
  std::string loss;  // this one beside ce, with plain SGD; empty: the main job's
  base::Json options = base::Json::object();
  std::string fault;            // of this rank
  std::int64_t stop_after = 0;  // steps, then as by a signal; 0: never
  SeenRows* seen = nullptr;
};

/// One kind of label, with options.
struct Kind {
  std::string type = "topk";
  base::Json options = {{"k", 12}, {"temperatures", {1, 2}}};
};

struct Outcome {
  models::NamedTensors parameters;
  base::Json curve;
  std::string stopped_by;
  double norm = 0;  // of the last step's gradient, before it was clipped
};

/// The gap of parameters, and that of the losses' means in every entry of the curve.
[[nodiscard]] Gap gap_of(const Outcome& a, const Outcome& b);

/// Options with which a loss draws fewer than there are, and fits twelve labels.
[[nodiscard]] base::Json small_options(const std::string& type);
[[nodiscard]] trainer::NamedLoss make_loss(const Job& job);

/// Hash of every file of a label store but the record of its stage.
[[nodiscard]] std::map<std::string, std::string> hashes_of(const fs::path& folder);

/// Labels of every kind: what the store has, and what is made here of the target alone, the same on every rank.
class EveryLabel : public trainer::NextItem {
 public:
  using NextItem::NextItem;
  static constexpr std::int64_t kWidth = 6;
  void watch(const Job& job, std::atomic<bool>& stop) { job_ = &job, stop_ = &stop; }
  void begin_step(std::int64_t step) override;
  std::vector<torch::Tensor> loss_sums(const data::LabelledBatch& batch, std::uint64_t step_key) override;

 protected:
  trainer::LabelSets stored_labels(const data::LabelledBatch& batch, const std::set<double>& more) override;

 private:
  const Job* job_ = nullptr;
  std::atomic<bool>* stop_ = nullptr;
  std::int64_t step_ = 0;
};

class Parity : public testing::Test {
 protected:
  /// Rank 0 makes the datasets that all ranks read. `even_`: 2200 ragged rows in three label parts. `uneven_`: 21 rows,
  /// one in five of 100 targets, the others of 1 to 3. `single_`: one row.
  static void SetUpTestSuite();
  static void TearDownTestSuite();

  static std::shared_ptr<models::SasRec> make_model(const Corpus& corpus, std::int64_t dim, std::uint64_t seed);
  /// Never trained, but with scores as far apart as a trained one's.
  static std::shared_ptr<models::SasRec> make_teacher(const Corpus& corpus);
  static trainer::LabelResult label(dist::Communicator& communicator, const Corpus& corpus, const std::string& name,
                                    int threads, bool stop = false, const Kind& asked = {});

  /// Five steps of AdamW with ce, kl_tail and mse, clipped, a step of two cuts, the fifth in the second epoch.
  static Job main_job();
  /// Dropout 0.2 everywhere, attention's probabilities among it. Goes on from a checkpoint in the folder `name`.
  static Outcome train(dist::Communicator& communicator, const std::string& name, const Job& job);
  /// The same in one process, on rank 0; every rank gets what it came to.
  static Outcome train_alone(const std::string& name, const Job& job);
  /// Copies a folder of train() while nobody writes to it. Collective.
  static void copy_folder(const std::string& from, const std::string& to);

  static bool is_the_same_everywhere(const std::string& bytes);
  /// The job here against one process, within the tolerance; with the same bits on every rank, and once more.
  static void expect_parity(const std::string& row, const Job& job);

  static fs::path folder_;
  static std::unique_ptr<Corpus> even_, uneven_, single_;

 private:
  static void open(std::unique_ptr<Corpus>& corpus, const std::string& name, std::int64_t max_length);
};

}  // namespace decant::multirank
