#include "trainer/online_teacher.h"

namespace decant::trainer {

TeacherLabels OnlineTeacher::labels(const models::Inputs& inputs, const torch::Tensor& targets,
                                    const OnlineNeeds& needs) {
  const torch::NoGradGuard no_grad;
  teacher_->eval();
  const auto scores = teacher_->forward(inputs).scores;
  auto& table = teacher_->table();
  const std::vector<double> temperatures(needs.temperatures.begin(), needs.temperatures.end());
  const auto best = table.topk(scores.hidden, {std::min(k_, table.items()), temperatures, targets});
  TeacherLabels labels;
  labels.ids = best.ids;
  labels.logits = best.logits;
  labels.target_logit = best.target_logit;
  for (std::size_t t = 0; t < temperatures.size(); ++t)
    labels.rest_lse[temperatures[t]] = best.rest_lse.select(1, static_cast<std::int64_t>(t));
  if (needs.moments) {
    const auto moments = table.moments(scores.hidden);
    labels.logit_mean = moments.mean;
    labels.logit_variance = moments.variance;
  }
  return labels;
}

}  // namespace decant::trainer
