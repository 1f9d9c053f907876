// Stochastic gradient descent with momentum, Nesterov's form by option, weight decay added to the gradient.
#include <ATen/ops/zeros_like.h>

#include "trainer/optimizers/optimizers.h"

namespace decant::trainer {
namespace {

struct SgdOptions : base::Options {
  double lr = 0.1, momentum = 0, weight_decay = 0;
  bool nesterov = false;
  void describe(base::Fields& fields) override {
    fields.real("lr", lr, {0, 1e6}, "learning rate after warm-up");
    fields.real("momentum", momentum, {0, 1}, "share of the last update that is kept");
    fields.real("weight_decay", weight_decay, {0, 1e3}, "this times the parameter is added to its gradient");
    fields.flag("nesterov", nesterov, "look ahead along the momentum (needs momentum)");
  }
};

class Sgd : public Optimizer {
 public:
  Sgd(const SgdOptions& options, const NamedTensors& parameters) : options_(options), parameters_(parameters) {
    if (options.nesterov && options.momentum == 0) throw base::ConfigError("sgd: nesterov needs a momentum above 0");
    for (const auto& [name, parameter] : parameters)
      if (options.momentum != 0) velocity_.push_back(at::zeros_like(parameter));
  }
  void step(double lr) override {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      auto parameter = parameters_[i].second;
      auto update = parameter.grad();
      if (options_.weight_decay != 0) update = update.add(parameter, options_.weight_decay);
      if (options_.momentum != 0) {
        velocity_[i].mul_(options_.momentum).add_(update);
        update = options_.nesterov ? update.add(velocity_[i], options_.momentum) : velocity_[i];
      }
      parameter.add_(update, -lr);
    }
  }
  double base_lr() const override { return options_.lr; }
  NamedTensors state() override {
    NamedTensors out;
    for (std::size_t i = 0; i < velocity_.size(); ++i)
      out.emplace_back(parameters_[i].first + "/velocity", velocity_[i]);
    return out;
  }

 private:
  SgdOptions options_;
  NamedTensors parameters_;
  std::vector<torch::Tensor> velocity_;
};

}  // namespace

void add_sgd(OptimizerRegistry& registry) {
  registry.add<SgdOptions>("sgd", [](const SgdOptions& options, const NamedTensors& parameters) {
    return std::make_shared<Sgd>(options, parameters);
  });
}

}  // namespace decant::trainer
