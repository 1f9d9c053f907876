#include "trainer/non_finite.h"

#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <torch/autograd.h>

#include <cmath>
#include <utility>

#include "base/files.h"
#include "trainer/errors.h"

namespace decant::trainer {

namespace {

/// JSON has no NaN.
std::string number_text(double value) {
  return std::isnan(value) ? "nan" : std::isinf(value) ? (value > 0 ? "inf" : "-inf") : std::to_string(value);
}

base::Json evidence(const std::string& quantity, const std::string& value, const data::LabelledBatch& batch) {
  return {{"quantity", quantity}, {"value", value}, {"rows", batch.batch.sample_ids}};
}

/// "rows 5, 17, 23 and 61 others".
std::string some_rows(const base::Json& rows) {
  constexpr std::size_t kShown = 5;
  std::string out;
  for (std::size_t i = 0; i < std::min(rows.size(), kShown); ++i)
    out += (i == 0 ? "" : ", ") + std::to_string(rows[i].get<std::int64_t>());
  if (rows.size() > kShown) out += " and " + std::to_string(rows.size() - kShown) + " others";
  return "rows " + out;
}

}  // namespace

double gradient_norm(const std::vector<torch::Tensor>& flats) {
  std::vector<torch::Tensor> norms;
  norms.reserve(flats.size());
  for (const auto& flat : flats) norms.push_back(at::linalg_vector_norm(flat));
  return at::linalg_vector_norm(at::stack(norms)).item<double>();
}

void clip_gradient(const std::vector<torch::Tensor>& flats, double norm, double bound) {
  if (bound > 0 && norm > bound)
    for (const auto& flat : flats) flat.mul_(bound / norm);
}

NonFiniteGuard::NonFiniteGuard(const TrainOptions& options, std::filesystem::path folder, std::string where, Task& task,
                               Context& context)
    : options_(options), folder_(std::move(folder)), where_(std::move(where)), task_(task), context_(context) {}

torch::Tensor NonFiniteGuard::seed(const data::LabelledBatch& batch, const std::vector<torch::Tensor>& parts,
                                   const torch::Tensor& total) {
  Seen seen{&batch, {}, total.detach()};
  for (const auto& part : parts) seen.parts.push_back(part.detach());
  seen_.push_back(std::move(seen));
  return seen_.back().total * 0 + 1;
}

/// Of the first micro-batch of this rank whose loss is not finite, or null.
base::Json NonFiniteGuard::bad_loss() const {
  for (const Seen& seen : seen_) {
    for (std::size_t l = 0; l < seen.parts.size(); ++l)
      if (const auto value = seen.parts[l].item<double>(); !std::isfinite(value))
        return evidence("loss '" + task_.losses()[l].name + "'", number_text(value), *seen.batch);
    if (const auto value = seen.total.item<double>(); !std::isfinite(value))
      return evidence("weighted sum of losses", number_text(value), *seen.batch);
  }
  return nullptr;
}

/// Of the first micro-batch of this rank whose own gradient is not finite, computed once more, or null. Every rank calls
/// it, since losses may meet over ranks.
base::Json NonFiniteGuard::bad_gradient(std::uint64_t step_key, const std::vector<double>& divisors) {
  std::vector<torch::Tensor> parameters;
  for (const auto& [name, tensor] : task_.parameters())
    if (tensor.requires_grad()) parameters.push_back(tensor);
  base::Json found = nullptr;
  if (seen_.empty()) task_.join(step_key);
  for (const Seen& seen : seen_) {
    const auto parts = task_.loss_sums(*seen.batch, step_key);
    torch::Tensor total;
    for (std::size_t l = 0; l < parts.size(); ++l) {
      const auto scaled = parts[l] * (task_.losses()[l].multiplier() / divisors[l]);
      total = total.defined() ? total + scaled : scaled;
    }
    std::vector<torch::Tensor> gradients;
    for (const auto& gradient : torch::autograd::grad({total}, parameters, {}, /*retain_graph=*/false,
                                                      /*create_graph=*/false, /*allow_unused=*/true))
      if (gradient.defined()) gradients.push_back(gradient);
    if (const double norm = gradient_norm(gradients); !std::isfinite(norm) && found.is_null())
      found = evidence("gradient", "norm " + number_text(norm), *seen.batch);
  }
  static_cast<void>(task_.take_counts());  // the step itself has counted them
  return found;
}

/// The evidence of every rank that has any, each with its rank; the same on all of them.
base::Json NonFiniteGuard::find_culprits(std::uint64_t step_key, const std::vector<double>& divisors) {
  const auto gather = [&](base::Json own) {
    if (!own.is_null()) own["rank"] = context_.rank();
    base::Json all = base::Json::array();
    for (const std::string& text : context_.communicator.gather_bytes(own.dump()))
      if (auto theirs = base::Json::parse(text); !theirs.is_null()) all.push_back(std::move(theirs));
    return all;
  };
  auto culprits = gather(bad_loss());
  return culprits.empty() ? gather(bad_gradient(step_key, divisors)) : culprits;
}

std::string NonFiniteGuard::tell(const base::Json& culprits, double norm) const {
  if (culprits.empty())  // each rank's is finite, their sum is not
    return "the gradient of stage '" + where_ + "' is not finite (norm " + number_text(norm) + ")";
  const auto& first = culprits.front();
  return "the " + first.at("quantity").get<std::string>() + " of stage '" + where_ + "' is not finite (" +
         first.at("value").get<std::string>() + ") on rank " + std::to_string(first.at("rank").get<int>()) +
         (culprits.size() > 1 ? " and " + std::to_string(culprits.size() - 1) + " others" : "") + ", " +
         some_rows(first.at("rows"));
}

bool NonFiniteGuard::accepts(double norm, std::uint64_t step_key, const std::vector<double>& divisors,
                             TrainState& state) {
  if (std::isfinite(norm)) {
    state.skipped_in_row = 0;
    return true;
  }
  const auto culprits = find_culprits(step_key, divisors);
  const auto file = folder_ / "non_finite" / ("step-" + std::to_string(state.step) + ".json");
  if (context_.leads())
    base::write_file(file,
                     base::Json{{"step", state.step}, {"norm", number_text(norm)}, {"ranks", culprits}}.dump(1) + "\n");
  const std::string told = tell(culprits, norm) + " (" + file.string() + ")";
  if (options_.non_finite != "skip")
    throw NumericError(state.step, told +
                                       "; lower the learning rate, set train.clip_norm, or let such steps be skipped "
                                       "(train.non_finite: skip)");
  ++state.skipped;
  if (++state.skipped_in_row > options_.non_finite_limit)
    throw NumericError(state.step, told + "; " + std::to_string(options_.non_finite_limit) +
                                       " steps before it were skipped in a row (train.non_finite_limit)");
  context_.metrics.add("decant_non_finite_steps_total", 1);
  context_.log.line("step " + std::to_string(state.step) + " is skipped: " + told);
  context_.progress.say("step " + std::to_string(state.step) + " is skipped: " + told);
  return false;
}

}  // namespace decant::trainer
