// A tap of the teacher at every target: what hint and relation losses compare the student's states with. The teacher's
// item vectors are in its weights already (docs/labels.md).
#include "trainer/labels/columns.h"

namespace decant::trainer {
namespace {

struct HiddenOptions : base::Options {
  std::string tap = "hidden";
  void describe(base::Fields& fields) override {
    fields.text("tap", tap, "hidden: the state that is scored; or a tap that the teacher's model publishes");
  }
};

class Hidden : public LabelKind {
 public:
  explicit Hidden(const HiddenOptions& options) : tap_(options.tap) {}

  std::vector<data::LabelColumn> columns(const LabelShape& shape) const override {
    return {{"vectors", shape.values, shape.tap_widths.at(tap_)}, {"target_logit", data::Element::kF32, 1}};
  }

  void make(const TeacherBlock& block, data::LabelRows& out) const override {
    const auto& vectors = block.taps.at(tap_);
    check_finite(block, vectors);
    set_column(out, "vectors", vectors);
    set_column(out, "target_logit",
               block.table->walk(block.hidden, {{}, block.targets.unsqueeze(1), 0}).logits.select(1, 0));
  }

  TeacherLabels decode(const data::LabelRows& rows, const std::set<double>&, torch::Device device) const override {
    auto labels = decode_scores(rows, {}, {}, device);
    labels.vectors = get_column(rows, "vectors", device);
    return labels;
  }
  std::set<std::string> taps() const override { return {tap_}; }
  bool has_moments() const override { return false; }

 private:
  std::string tap_;
};

}  // namespace

void add_hidden(LabelKindRegistry& registry) {
  registry.add<HiddenOptions>("hidden", [](const HiddenOptions& o) { return std::make_shared<Hidden>(o); });
}

}  // namespace decant::trainer
