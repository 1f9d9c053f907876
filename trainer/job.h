// The job file: what a run is. Every field is declared once, in describe().
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/options.h"
#include "data/import.h"
#include "data/sampler.h"
#include "models/model.h"
#include "monitoring/options.h"
#include "trainer/label_options.h"
#include "trainer/loss.h"
#include "trainer/optimizer.h"
#include "trainer/recipe_options.h"
#include "trainer/sweep_space.h"

namespace decant::trainer {

/// What can be plugged in. `default_registries()` has decant's own kinds; users add theirs.
struct Registries {
  models::ModelRegistry models{"model"};
  LossRegistry losses{"loss"};
  OptimizerRegistry optimizers{"optimizer"};
};
[[nodiscard]] Registries default_registries();

struct RunOptions : base::Options {
  std::string folder;
  std::int64_t seed = 1;
  std::int64_t teacher_seed = -1;  // -1: seed
  std::string device = "auto";     // auto | cpu | cuda
  std::int64_t threads = 0;        // a rank; 0: cores / ranks on this host
  std::int64_t timeout_seconds = 600;
  void describe(base::Fields& fields) override;
};

struct DataOptions : base::Options {
  std::string dataset;
  std::int64_t cache_mib = 1024;  // a rank, for the dataset and again for labels
  data::ImportOptions import;
  void describe(base::Fields& fields) override;
};

struct ScheduleOptions : base::Options {
  std::int64_t warmup_steps = 0;
  std::string decay = "constant";  // constant | linear | cosine
  std::int64_t decay_steps = 0;    // after warm-up; with decay only
  double final_fraction = 0;
  void describe(base::Fields& fields) override;
};

struct SoftmaxOptions : base::Options {
  std::string kind = "full";  // full | sampled
  std::int64_t negatives = 256;
  bool log_q = false;
  void describe(base::Fields& fields) override;
};

struct TrainOptions : base::Options {
  std::int64_t max_epochs = 200;
  std::int64_t max_steps = 0;  // 0: no bound
  std::string select = "ndcg@10";
  std::int64_t patience = 10;  // validations without a better value; 0: never stop early
  std::int64_t validate_epochs = 1;
  std::int64_t checkpoint_steps = 1000;  // beside the one at every validation; 0: none
  std::int64_t checkpoint_keep = 2;      // the newest so many
  bool checkpoint_keep_best = false;     // and the best by valid
  double clip_norm = 0;                  // 0: none
  std::string non_finite = "stop";       // stop | skip
  std::int64_t non_finite_limit = 10;    // steps in a row that may be skipped
  std::string reduce_dtype = "fp32";     // fp32 | bf16: of gradients on their way between ranks
  std::vector<std::string> frozen;       // patterns of parameter names
  ScheduleOptions schedule;
  SoftmaxOptions softmax;
  void describe(base::Fields& fields) override;
};

/// One of the student's stages: what differs from `train` while it lasts. Steps of its schedule and its bounds count
/// from its beginning.
struct StageOptions : base::Options {
  explicit StageOptions(const Registries& registries) : registries_(&registries) {}
  std::map<std::string, base::KindOptions> losses;  // empty: the job's
  double lr = 0;                                    // 0: the optimiser's
  ScheduleOptions schedule;
  std::vector<std::string> frozen;             // beside train.frozen
  std::int64_t max_epochs = 0;                 // 0: as train
  std::int64_t max_steps = -1, patience = -1;  // -1: as train
  std::string start = "best";                  // best | last: weights of the stage before
  void describe(base::Fields& fields) override;
  /// `train` as it is while this stage lasts.
  [[nodiscard]] TrainOptions over(const TrainOptions& train) const;

 private:
  const Registries* registries_;
};

/// Teacher or student.
struct SideOptions : base::Options {
  explicit SideOptions(const Registries& registries) : registries_(&registries) {}
  base::KindOptions model{"sasrec", nullptr};
  base::KindOptions optimizer{"adamw", nullptr};
  TrainOptions train;
  void describe(base::Fields& fields) override;

 protected:
  const Registries* registries_;
};

struct TeacherOptions : SideOptions {
  explicit TeacherOptions(const Registries& registries);
  std::string weights;        // take this safetensors file instead of training
  std::string gate = "stop";  // stop | warn: when something simpler ranks better
  std::map<std::string, base::KindOptions> losses;
  void describe(base::Fields& fields) override;
};

struct StudentOptions : SideOptions {
  explicit StudentOptions(const Registries& registries);
  base::GroupMap<StageOptions> stages;  // none: one stage, of the job's losses and `train`
  AugmentOptions augment;
  PerturbationOptions perturbation;
  BalanceOptions balance;
  ScreeningOptions screening;
  void describe(base::Fields& fields) override;
};

/// A division of targets by an attribute that a file gives to items or users.
struct SegmentOptions : base::Options {
  std::string file, of = "item";  // item | user
  void describe(base::Fields& fields) override;
};

struct EvaluateOptions : base::Options {
  double rbo_p = 0.9;
  std::int64_t calibration_bins = 15;
  base::GroupMap<SegmentOptions> segments;
  std::int64_t segment_values = 20;
  bool print_segments = false;
  void describe(base::Fields& fields) override;
  void check() const;
};

struct JobOptions : base::Options {
  explicit JobOptions(const Registries& registries);
  std::int64_t version = 1;
  RunOptions run;
  DataOptions data;
  data::BatchOptions batch;
  TeacherOptions teacher;
  base::GroupMap<TeacherOptions> teachers;  // beside it, for label sets
  StudentOptions student;
  std::map<std::string, base::KindOptions> losses;  // the student's; the control keeps those that need no labels
  LabelOptions labels;
  EvaluateOptions evaluate;
  SweepOptions sweep;
  monitoring::MonitoringOptions monitoring;
  void describe(base::Fields& fields) override;
  /// Checks what no single field can know (both sides' windows, label temperatures the losses need, a file to import).
  void check() const;

 private:
  void check_losses() const;
  void check_stages() const;
  void check_frozen() const;
  void check_recipe() const;
  const Registries* registries_;
};

/// Label sets that the student's losses work on.
[[nodiscard]] std::set<std::string> label_sets(const JobOptions& job, const Registries& registries);

/// Label sets that a run makes: those of `labels.sets`, and "teacher" where a loss works on it or there is no other; none
/// of those that were made elsewhere.
[[nodiscard]] std::vector<std::string> made_sets(const JobOptions& job, const Registries& registries);

/// Columns of the teacher's item vectors.
[[nodiscard]] std::int64_t teacher_width(const JobOptions& job, const Registries& registries);

/// The loss maps that the student is trained with: the job's, or one a stage.
[[nodiscard]] std::vector<const std::map<std::string, base::KindOptions>*> student_losses(const JobOptions& job);

}  // namespace decant::trainer
