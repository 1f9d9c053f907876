// Steps of a model that Python has traced, with decant's gradient reducer: one side of reducer_vs_ddp.py, which writes
// the model and starts this under mpirun.
//
//   mpirun -n 2 bench_reducer_bench MODEL.pt ITEMS BATCH LENGTH STEPS fp32|bf16
//
// A step is forward, backward and the exchange; every other one leaves the exchange out. Rank 0 prints both kinds' times,
// each the largest over ranks, and how far the dtype puts the gradient off, as one line of JSON.
#include <ATen/Parallel.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include <chrono>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/gradient_reducer.h"

namespace {

using namespace decant;
using Clock = std::chrono::steady_clock;

constexpr int kWarmup = 3;

struct Plan {
  std::string model;
  std::int64_t items, batch, length;
  int steps;
  torch::ScalarType reduce_dtype;
};

/// The same ids as the other side's: none is drawn.
torch::Tensor ids_of(const Plan& plan, int rank) {
  return ((torch::arange(plan.batch * plan.length, torch::kInt64) * 7919 + rank * 104729) % plan.items)
      .view({plan.batch, plan.length});
}

/// The flat buffers after one step.
std::vector<torch::Tensor> gradients(torch::jit::Module& model, const std::vector<torch::Tensor>& parameters,
                                     const torch::Tensor& ids, dist::Communicator& communicator,
                                     torch::ScalarType reduce_dtype) {
  dist::GradientReducer reducer(parameters, communicator, {.reduce_dtype = reduce_dtype});
  reducer.begin();
  const auto loss = model.forward({ids}).toTensor();
  reducer.arm();
  loss.backward();
  (void)reducer.finish();
  std::vector<torch::Tensor> out;
  for (const auto& flat : reducer.buckets()) out.push_back(flat.to(torch::kFloat64));
  return out;
}

/// L2 norm of what travelling as `reduce_dtype` adds to the gradient, as a share of the gradient's.
double relative_error(const std::vector<torch::Tensor>& rounded, const std::vector<torch::Tensor>& exact) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    error += (rounded[i] - exact[i]).square().sum().item<double>();
    size += exact[i].square().sum().item<double>();
  }
  return std::sqrt(error / size);
}

int measure(const Plan& plan) {
  at::set_num_threads(1);
  torch::jit::setGraphExecutorOptimize(false);  // else a subgraph's gradients come all at once
  const dist::MpiSession session;
  const auto communicator = dist::make_mpi_communicator(session, {});
  auto model = torch::jit::load(plan.model);
  model.train();
  std::vector<torch::Tensor> parameters;
  for (const auto& parameter : model.parameters()) parameters.push_back(parameter);
  const auto ids = ids_of(plan, communicator->rank());
  const double error = relative_error(gradients(model, parameters, ids, *communicator, plan.reduce_dtype),
                                      gradients(model, parameters, ids, *communicator, torch::kFloat32));
  dist::GradientReducer reducer(parameters, *communicator, {.reduce_dtype = plan.reduce_dtype});
  std::vector<double> with, without, waited, on_the_way;
  std::int64_t bytes = 0;
  for (int step = 0; step < 2 * (plan.steps + kWarmup); ++step) {
    const bool exchanges = step % 2 == 0;
    communicator->barrier();
    const auto started = Clock::now();
    reducer.begin();
    const auto loss = model.forward({ids}).toTensor();
    if (exchanges) reducer.arm();
    loss.backward();
    dist::ReducerStats stats;
    if (exchanges) stats = reducer.finish();
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - started).count();
    if (step < 2 * kWarmup) continue;
    (exchanges ? with : without).push_back(ms);
    if (!exchanges) continue;
    waited.push_back(stats.exposed_seconds * 1e3);
    on_the_way.push_back(stats.exchange_seconds * 1e3);
    bytes = stats.bytes;
  }
  for (auto* times : {&with, &without}) communicator->all_reduce_host(*times, dist::Reduce::kMax);
  const nlohmann::json found{{"with", with},     {"without", without},       {"bytes", bytes},
                             {"waited", waited}, {"on_the_way", on_the_way}, {"error", error}};
  if (communicator->rank() == 0) std::cout << found.dump() << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::cerr << "usage: " << argv[0] << " MODEL.pt ITEMS BATCH LENGTH STEPS fp32|bf16\n";
    return 2;
  }
  return measure({argv[1], std::stoll(argv[2]), std::stoll(argv[3]), std::stoll(argv[4]), std::stoi(argv[5]),
                  argv[6] == std::string("bf16") ? torch::kBFloat16 : torch::kFloat32});
}
