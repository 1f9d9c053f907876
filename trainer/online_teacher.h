// A teacher that labels the step's own batch, beside or in the place of stored labels.
#pragma once

#include <memory>
#include <set>

#include "models/model.h"
#include "trainer/loss.h"

namespace decant::trainer {

/// The label set of that name is made in the step.
inline constexpr const char* kOnlineSet = "online";

/// What the losses ask of the set "online".
struct OnlineNeeds {
  std::set<double> temperatures;  // of the log-sum-exp outside the k best
  bool moments = false;
  bool asked = false;  // a loss works on the set
};

class OnlineTeacher {
 public:
  OnlineTeacher(std::shared_ptr<models::SequenceModel> teacher, std::int64_t k) : teacher_(std::move(teacher)), k_(k) {}
  /// Whether labels() is collective.
  [[nodiscard]] bool collective() const { return teacher_->table().collective(); }
  /// Labels of the top-k kind, as a store would hold them but in float32: evaluation mode, no gradient. `inputs` are
  /// the student's; `targets` [targets] int64.
  [[nodiscard]] TeacherLabels labels(const models::Inputs& inputs, const torch::Tensor& targets,
                                     const OnlineNeeds& needs);

 private:
  std::shared_ptr<models::SequenceModel> teacher_;
  std::int64_t k_;
};

}  // namespace decant::trainer
