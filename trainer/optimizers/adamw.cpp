// AdamW (Loshchilov, Hutter 2019), by LibTorch's fused kernel: one pass over parameters, gradients and both moments.
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "trainer/optimizers/optimizers.h"

namespace decant::trainer {
namespace {

struct AdamWOptions : base::Options {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.98, eps = 1e-8, weight_decay = 0;
  void describe(base::Fields& fields) override {
    fields.real("lr", lr, {0, 1e3}, "learning rate after warm-up");
    fields.real("beta1", beta1, {0, 0.999999}, "decay of the first moment");
    fields.real("beta2", beta2, {0, 0.999999}, "decay of the second moment");
    fields.real("eps", eps, {0, 1}, "added to the root of the second moment");
    fields.real("weight_decay", weight_decay, {0, 1e3}, "decoupled: lr times this is taken off every parameter");
  }
};

class AdamW : public Optimizer {
 public:
  AdamW(const AdamWOptions& options, const NamedTensors& parameters) : options_(options) {
    for (const auto& [name, parameter] : parameters) {
      names_.push_back(name);
      parameters_.push_back(parameter);
      first_.push_back(at::zeros_like(parameter));
      second_.push_back(at::zeros_like(parameter));
      steps_.push_back(at::zeros({}, parameter.options().dtype(torch::kFloat32)));
    }
  }
  void step(double lr) override {
    const torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> gradients;
    for (const auto& parameter : parameters_) gradients.push_back(parameter.grad());
    at::_foreach_add_(steps_, 1);
    at::_fused_adamw_(parameters_, gradients, first_, second_, {}, steps_, lr, options_.beta1, options_.beta2,
                      options_.weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false);
  }
  double base_lr() const override { return options_.lr; }
  NamedTensors state() override {
    NamedTensors out;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      out.emplace_back(names_[i] + "/first", first_[i]);
      out.emplace_back(names_[i] + "/second", second_[i]);
      out.emplace_back(names_[i] + "/step", steps_[i]);
    }
    return out;
  }

 private:
  AdamWOptions options_;
  std::vector<std::string> names_;
  std::vector<torch::Tensor> parameters_, first_, second_, steps_;
};

}  // namespace

void add_adamw(OptimizerRegistry& registry) {
  registry.add<AdamWOptions>("adamw", [](const AdamWOptions& options, const NamedTensors& parameters) {
    return std::make_shared<AdamW>(options, parameters);
  });
}

}  // namespace decant::trainer
