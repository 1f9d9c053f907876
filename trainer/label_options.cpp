#include "trainer/label_options.h"

#include "data/label_store.h"
#include "trainer/labels/label_kind.h"

namespace decant::trainer {

void LabelSetOptions::describe(base::Fields& fields) {
  fields.text("kind", kind, "what is kept of the teacher's output (docs/labels.md)", label_kinds().names());
  if (own_.options == nullptr || own_.type != kind) own_ = {kind, label_kinds().options_of(kind)};
  own_.options->describe(fields);
  fields.alternatives("kind", kind, label_kinds());
  fields.text("dtype", dtype, "of stored logits and vectors", {"fp16", "bf16", "fp32"});
  fields.text("compress", compress, "of the columns; deflate: shuffled and deflated", {"none", "deflate"});
  fields.text("teacher", teacher, "whose labels: teacher, or one of 'teachers'");
  fields.integer(
      "folds", folds, {0, 100},
      "out-of-fold labels: so many teachers, each trained without a fold of the users, which it then labels; "
      "0: the teacher labels what it was trained on (docs/labels.md)");
  fields.text("folder", folder, "a label set made elsewhere to read in place of making one (docs/labels.md)");
}

data::Element LabelSetOptions::values() const {
  if (dtype == "fp32") return data::Element::kF32;
  return dtype == "bf16" ? data::Element::kBf16 : data::Element::kF16;
}

std::shared_ptr<LabelKind> LabelSetOptions::make_kind() const {
  if (!folder.empty()) return kind_of(data::read_label_spec(folder));
  if (own_.options != nullptr && own_.type == kind) return label_kinds().make(own_);
  return label_kinds().make({kind, label_kinds().options_of(kind)});
}

void LabelOptions::describe(base::Fields& fields) {
  LabelSetOptions::describe(fields);
  fields.groups("sets", sets, "further label sets by name, beside 'teacher', which the options above describe");
}

std::vector<std::pair<std::string, const LabelSetOptions*>> LabelOptions::all() const {
  std::vector<std::pair<std::string, const LabelSetOptions*>> out{{kDefaultSet, this}};
  for (const auto& [name, set] : sets) out.emplace_back(name, set.get());
  return out;
}

const LabelSetOptions* LabelOptions::find(const std::string& name) const {
  return name == kDefaultSet ? this : sets.find(name);
}

std::int64_t LabelOptions::online_k() const { return make_kind()->ids(); }

std::string LabelOptions::key_of(const std::string& name) {
  return name == kDefaultSet ? "labels" : "labels.sets." + name;
}

}  // namespace decant::trainer
