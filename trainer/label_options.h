// Label sets in the job file: one teacher, one kind, and its options each.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/options.h"
#include "data/hdf5_file.h"

namespace decant::trainer {

class LabelKind;

struct LabelSetOptions : base::Options {
  std::string kind = "topk";
  std::string teacher = "teacher";
  std::string dtype = "fp16";        // fp32 | fp16 | bf16
  std::string compress = "deflate";  // none | deflate
  std::int64_t folds = 0;  // teachers trained without a fold of users each, to label it; 0: the teacher itself
  std::string folder;      // a set made elsewhere; empty: made from the teacher
  void describe(base::Fields& fields) override;
  [[nodiscard]] data::Element values() const;
  /// Of a set from a folder: the kind that its manifest names. Throws DataError when there is no whole set.
  [[nodiscard]] std::shared_ptr<LabelKind> make_kind() const;

 private:
  base::KindOptions own_;  // of `kind`
};

/// The set "teacher", and others by name.
struct LabelOptions : LabelSetOptions {
  base::GroupMap<LabelSetOptions> sets;
  void describe(base::Fields& fields) override;
  /// Every set by name, "teacher" first.
  [[nodiscard]] std::vector<std::pair<std::string, const LabelSetOptions*>> all() const;
  /// Null when there is none of that name.
  [[nodiscard]] const LabelSetOptions* find(const std::string& name) const;
  /// Best items a target of the set "online", which is made in the step: as many ids as the set "teacher" has.
  [[nodiscard]] std::int64_t online_k() const;
  /// "labels", or "labels.sets.<name>": what messages call a set's options.
  [[nodiscard]] static std::string key_of(const std::string& name);
};

inline constexpr char kDefaultSet[] = "teacher";

}  // namespace decant::trainer
