#include "data/errors.h"
#include "trainer/labels/label_kind.h"

namespace decant::trainer {

const LabelKindRegistry& label_kinds() {
  static const LabelKindRegistry registry = [] {
    LabelKindRegistry made("label kind");
    add_topk(made);
    add_top_p(made);
    add_dense(made);
    add_sampled(made);
    add_candidates(made);
    add_hidden(made);
    return made;
  }();
  return registry;
}

std::shared_ptr<LabelKind> kind_of(const data::LabelSpec& spec) {
  base::KindOptions kind{spec.kind, label_kinds().options_of(spec.kind)};
  base::read_options(spec.options, *kind.options, "options of the labels");
  return label_kinds().make(kind);
}

}  // namespace decant::trainer
