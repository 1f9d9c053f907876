#include "trainer/label_checks.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <optional>

#include "data/label_store.h"
#include "trainer/labels/label_kind.h"
#include "trainer/online_teacher.h"
#include "trainer/sharing.h"
#include "trainer/teacher_chain.h"

namespace decant::trainer {
namespace {

using base::ConfigError;

std::int64_t window_of(const SideOptions& side, const Registries& registries) {
  return registries.models.make(side.model, models::ModelContext{1, 0})->max_length();
}

/// What a label set will hold, as far as options or its manifest say so.
class Offer {
 public:
  Offer(const JobOptions& job, const std::string& set)
      : options_(set == kOnlineSet ? &job.labels : job.labels.find(set)), set_(set), online_(set == kOnlineSet) {
    if (online_) return;
    kind_ = options_->make_kind();
    name_ = options_->kind;
    if (options_->folder.empty()) return;
    stored_ = data::read_label_spec(options_->folder);
    name_ = stored_->kind;
  }

  [[nodiscard]] const std::string& kind() const { return name_; }
  [[nodiscard]] std::int64_t ids() const { return online_ ? options_->make_kind()->ids() : kind_->ids(); }
  [[nodiscard]] bool ranked() const { return online_ || kind_->ranked(); }
  [[nodiscard]] bool has_rest(double t) const {
    // Of all items nothing is left over, and no column says so.
    return online_ || (kind_->has_rest(t) && (name_ == "dense" || column("rest_lse")));
  }
  [[nodiscard]] bool has_moments() const {
    return online_ || (kind_->has_moments() && column("logit_mean") && column("logit_variance"));
  }
  [[nodiscard]] bool has_target() const { return column("target_logit"); }
  [[nodiscard]] double drawn_at() const { return online_ ? 0 : kind_->drawn_at(); }

  /// What messages call an option of the set; of "online" those of the set "teacher".
  [[nodiscard]] std::string option(const std::string& name) const {
    const std::string key = LabelOptions::key_of(online_ ? kDefaultSet : set_);
    return "'" + key + "." + name + "'";
  }
  /// "label set 'x' is of kind y".
  [[nodiscard]] std::string what() const { return "label set '" + set_ + "' is of kind " + name_; }

 private:
  /// Another program may have left columns out.
  [[nodiscard]] bool column(const std::string& name) const {
    if (!stored_) return true;
    const auto& columns = stored_->columns;
    return std::any_of(columns.begin(), columns.end(), [&](const auto& found) { return found.name == name; });
  }

  const LabelSetOptions* options_;
  std::string set_, name_ = "topk";
  bool online_;
  std::shared_ptr<LabelKind> kind_;
  std::optional<data::LabelSpec> stored_;
};

[[noreturn]] void refuse(const NamedLoss& named, const std::string& why) {
  throw ConfigError("loss '" + named.name + "' " + why);
}

/// Which side, and what the job file calls it.
struct Side {
  const SideOptions& options;
  std::string key;
};

void check_window(const JobOptions& job, const Registries& registries, const NamedLoss& named, const std::string& set,
                  const Side& side) {
  const std::int64_t own = window_of(side.options, registries);
  const auto must_be = [&](const std::string& whose, std::int64_t length) {
    if (length != own)
      refuse(named, "needs labels, and those hold for windows of the teacher's length: '" + side.key +
                        ".model.max_length' is " + std::to_string(own) + ", " + whose + " " + std::to_string(length));
  };
  const auto* options = job.labels.find(set);
  if (options != nullptr && !options->folder.empty())
    return must_be("that of the set in '" + LabelOptions::key_of(set) + ".folder'",
                   data::read_label_spec(options->folder).max_length);
  if (options == nullptr || options->teacher == "teacher")
    return must_be("the teacher's", window_of(job.teacher, registries));
  must_be("that of teacher '" + options->teacher + "'", window_of(*job.teachers.find(options->teacher), registries));
}

void check_kind(const NamedLoss& named, const Offer& offer) {
  const auto needs = named.loss->needs();
  if (!needs.label_kinds.contains(offer.kind()))
    refuse(named, "works on labels of kind " +
                      base::join({needs.label_kinds.begin(), needs.label_kinds.end()}, " or ") + ", and " +
                      offer.what() + " (" + offer.option("kind") + ")");
  if (needs.label_logits && offer.ids() < needs.least_k)
    refuse(named, "needs " + offer.option("k") + " of at least " + std::to_string(needs.least_k));
  if (needs.drawn_at > 0 && offer.drawn_at() != needs.drawn_at)
    refuse(named, "works at temperature " + base::Json(needs.drawn_at).dump() + ", and " + offer.what() +
                      ", drawn at " + base::Json(offer.drawn_at()).dump() + " (" + offer.option("drawn_at") + ")");
  if (needs.label_moments && !offer.has_moments())
    refuse(named, "needs the mean and variance of the teacher's logits, and " + offer.what() + ", without them");
}

/// What the loss itself and the sharing of a target among its sets need.
void check_columns(const NamedLoss& named, const Offer& offer) {
  const auto needs = named.loss->needs();
  const auto* sharing = named.sharing.get();
  auto temperatures = needs.label_rest_lse;
  if (sharing != nullptr)
    for (const double t : sharing->label_rest_lse()) temperatures.push_back(t);
  for (const double t : temperatures)
    if (!offer.has_rest(t))
      refuse(named, "works at temperature " + base::Json(t).dump() + ", which is not among " +
                        offer.option("temperatures") + " (" + offer.what() + ")");
  const bool by_target = needs.label_target_logit || (sharing != nullptr && sharing->by_target());
  if (by_target && !offer.has_target())
    refuse(named, "needs the teacher's logit of the target, and " + offer.what() + ", without it");
  if (sharing != nullptr && sharing->by_ids() && !offer.ranked())
    refuse(named, "compares the best items of its sets ('sharing: disagreement'), and " + offer.what());
}

/// Names become folders'.
void check_name(const std::string& key, const std::string& name) {
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](const unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
  if (!plain) throw ConfigError("'" + key + "': the name '" + name + "' may have letters, digits, '_' and '-' only");
}

}  // namespace

void check_label_sets(const JobOptions& job) {
  for (const auto& [name, side] : job.teachers) {
    check_name("teachers", name);
    if (name == "teacher") throw ConfigError("'teachers.teacher': the teacher of that name is described by 'teacher'");
  }
  for (const auto& [name, set] : job.labels.sets) {
    check_name("labels.sets", name);
    if (name == kDefaultSet)
      throw ConfigError("'labels.sets.teacher': the set 'teacher' is described by 'labels' itself");
    if (name == kOnlineSet)
      throw ConfigError("'labels.sets.online': the set 'online' is made in the step and never stored");
  }
  for (const auto& [name, set] : job.labels.all()) {
    const std::string key = LabelOptions::key_of(name);
    if (set->teacher != "teacher" && job.teachers.find(set->teacher) == nullptr)
      throw ConfigError("'" + key + ".teacher' is '" + set->teacher +
                        "', which is neither 'teacher' nor in 'teachers'");
    if (set->folder.empty()) continue;
    if (!std::filesystem::exists(std::filesystem::path(set->folder) / "manifest.json"))
      throw ConfigError("'" + key + ".folder' is " + set->folder + ", where there is no whole label set");
    static_cast<void>(set->make_kind());  // its manifest can be read and names a known kind
  }
}

namespace {

void check_labels_of(const JobOptions& job, const Registries& registries, const NamedLoss& named, const Side& side) {
  for (const auto& set : named.sets) {
    if (set != kOnlineSet && job.labels.find(set) == nullptr) {
      std::vector<std::string> known{kOnlineSet};
      for (const auto& [name, ignored] : job.labels.all()) known.push_back(name);
      throw ConfigError("loss '" + named.name + "' names the label set '" + set + "', which is not in 'labels.sets' (" +
                        base::join(known) + ")");
    }
    check_window(job, registries, named, set, side);
    const Offer offer(job, set);
    check_kind(named, offer);
    check_columns(named, offer);
  }
}

}  // namespace

void check_loss_of(const JobOptions& job, const Registries& registries, const NamedLoss& named, const SideOptions& side,
                   const std::string& key) {
  const auto needs = named.loss->needs();
  const std::string loss = "loss '" + named.name + "' ";
  if (!needs.labels && (needs.label_logits || !needs.rest_lse.empty()))
    throw ConfigError(loss + "asks for scores of labels without asking for labels");
  if (needs.labels && side.train.softmax.kind == "sampled")
    throw ConfigError(loss + "needs the full softmax: '" + key +
                      ".train.softmax.kind: sampled' serves losses without labels only");
  const std::int64_t teacher = &side == &job.student ? teacher_width(job, registries) : -1;
  const auto taps = registries.models.make(side.model, models::ModelContext{1, 0, teacher})->tap_names();
  const auto absent = std::find_if(needs.taps.begin(), needs.taps.end(), [&](const auto& tap) {
    return tap != "hidden" && std::find(taps.begin(), taps.end(), tap) == taps.end();
  });
  if (absent != needs.taps.end())
    throw ConfigError(loss + "asks for the tap '" + *absent + "', which '" + side.model.type +
                      "' has not (known: " + base::join(taps) + ")");
  if (needs.scope == Scope::kBatch && (job.batch.accumulate > 1 || job.batch.rank_tokens > 0))
    throw ConfigError(loss +
                      "compares the rows of a whole step: it takes neither 'batch.accumulate' above 1 nor "
                      "'batch.rank_tokens'");
  if (needs.labels) check_labels_of(job, registries, named, {side, key});
}

void check_sharded_teachers(const JobOptions& job, const Registries& registries) {
  for (const auto& [name, set] : job.labels.all()) {
    if (!set->folder.empty() || !set->make_kind()->whole_rows()) continue;
    const auto* side = find_teacher(job, set->teacher);
    if (!registries.models.make(side->model, models::ModelContext{1, 0, -1})->table().collective()) continue;
    throw ConfigError(
        "'" + LabelOptions::key_of(name) + ".kind: " + set->kind +
        "' needs all logits of a target at once, and the table of '" + set->teacher +
        "' is sharded over ranks ('model.table.kind: sharded'); topk, top_p, candidates and hidden can be "
        "had of it");
  }
}

void check_screening(const JobOptions& job, const std::string& set) {
  const auto& screening = job.student.screening;
  const Offer offer(job, set);
  const std::string key = "'student.screening' ";
  if (screening.by_probability() && (!offer.has_rest(1.0) || !offer.has_target()))
    throw ConfigError(key + "looks at probabilities at T = 1, which is not among " + offer.option("temperatures") +
                      " (" + offer.what() + ")");
  if (screening.most_rank > 0 && !offer.ranked())
    throw ConfigError(key + "looks for the target among the best items, and " + offer.what());
  if (screening.most_rank > offer.ids())
    throw ConfigError("'student.screening.most_rank' is above " + offer.option("k"));
}

}  // namespace decant::trainer
