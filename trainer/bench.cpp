#include "trainer/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <numeric>

#include "data/errors.h"
#include "models/int8_model.h"
#include "models/ops/int8_kernels.h"
#include "trainer/blocks.h"
#include "trainer/errors.h"
#include "trainer/export.h"
#include "trainer/next_item.h"

namespace decant::trainer {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr const char* kInt8 = "student_int8";
constexpr std::int64_t kBatchesAThread = 8;

/// One model and what was measured of it.
struct Entrant {
  std::string name, weights_hash;
  std::shared_ptr<models::SequenceModel> model;
  std::vector<data::PackedBatch> histories, batches;
  std::vector<double> encoder, search, total;  // microseconds
  std::vector<double> users_per_second;
};

double micros(Clock::duration span) { return std::chrono::duration<double, std::micro>(span).count(); }

torch::Tensor encode(models::SequenceModel& model, const data::PackedBatch& batch) {
  return model.forward(make_inputs(batch, torch::kCPU, 0)).scores.hidden;
}

models::TopKResult search(models::SequenceModel& model, const torch::Tensor& hidden, std::int64_t k) {
  return model.table().topk(hidden, {std::min(k, model.table().items()), {}, {}});
}

/// Rows with a target in test, spread evenly.
std::vector<std::int64_t> rows_of(const data::Dataset& dataset, std::int64_t count) {
  const std::int64_t rows = dataset.info().rows;
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0, next = 0; i < count; ++i) {
    next = std::max(next, i * rows / count);
    while (next < rows && dataset.evaluation_batch(data::Split::kTest, next, 1, 1).targets() == 0) ++next;
    if (next == rows) break;
    out.push_back(next++);
  }
  if (out.empty()) throw data::DataError(dataset.info().folder, "no history has an event for test");
  return out;
}

/// `count` batches of `size` rows, spread evenly; one at least.
std::vector<data::PackedBatch> batches_of(const data::Dataset& dataset, std::int64_t count, std::int64_t size,
                                          std::int64_t max_length) {
  const std::int64_t whole = std::max<std::int64_t>(1, dataset.info().rows / size), most = std::min(whole, count);
  std::vector<data::PackedBatch> out;
  for (std::int64_t i = 0; i < most; ++i)
    out.push_back(dataset.evaluation_batch(data::Split::kTest, i * whole / most * size, size, max_length));
  return out;
}

std::vector<Entrant> gather(Workspace& space, const BenchOptions& options, const std::vector<std::int64_t>& rows) {
  std::vector<Entrant> out;
  for (const std::string side : {"teacher", "student", kInt8, "control"}) {
    const std::string stage = side == kInt8 ? "student" : side;
    const auto record = read_stage(space.folder(stage));
    if (!record || !record->done || !fs::exists(weights_path(space.folder(stage)))) continue;
    auto model = finished_model(space, stage);
    if (side == kInt8) model = std::make_shared<models::Int8Model>(model);
    Entrant one{side, record->result.value("weights_hash", ""), model, {}, {}, {}, {}, {}, {}};
    const auto length = model->max_length();
    for (const auto row : rows)
      one.histories.push_back(space.dataset().evaluation_batch(data::Split::kTest, row, 1, length));
    one.batches = batches_of(space.dataset(), kBatchesAThread * space.context.threads, options.batch, length);
    out.push_back(std::move(one));
  }
  const auto is_main = [](const Entrant& one) { return one.name == "teacher" || one.name == "student"; };
  if (std::none_of(out.begin(), out.end(), is_main))
    throw CheckpointError(space.job.run.folder, "holds no finished teacher or student: run 'decant run' first");
  return out;
}

void measure_one(Entrant& one, std::size_t history, std::int64_t k, bool keep) {
  const auto begin = Clock::now();
  const auto hidden = encode(*one.model, one.histories[history]);
  const auto middle = Clock::now();
  const auto found = search(*one.model, hidden, k);
  const auto end = Clock::now();
  if (!keep) return;
  one.encoder.push_back(micros(middle - begin));
  one.search.push_back(micros(end - middle));
  one.total.push_back(micros(end - begin));
}

void measure_latency(std::vector<Entrant>& entrants, const BenchOptions& options) {
  const OneThread one_thread(true);
  const torch::NoGradGuard no_grad;
  const std::size_t histories = entrants.front().histories.size();
  for (auto& one : entrants)
    for (std::int64_t i = 0; i < options.warm_up; ++i)
      measure_one(one, static_cast<std::size_t>(i) % histories, options.k, false);
  for (std::int64_t repetition = 0; repetition < options.repetitions; ++repetition)
    for (std::size_t history = 0; history < histories; ++history)
      for (auto& one : entrants) measure_one(one, history, options.k, true);
}

void measure_throughput(std::vector<Entrant>& entrants, const BenchOptions& options, int threads) {
  for (std::int64_t repetition = -1; repetition < options.repetitions; ++repetition)  // the first warms up
    for (auto& one : entrants) {
      const auto begin = Clock::now();
      for_each_block(std::ssize(one.batches), 0, 1, threads, torch::kCPU, [&](std::int64_t block) {
        static_cast<void>(
            search(*one.model, encode(*one.model, one.batches[static_cast<std::size_t>(block)]), options.k));
      });
      const double seconds = Seconds(Clock::now() - begin).count();
      const auto users = std::accumulate(one.batches.begin(), one.batches.end(), std::int64_t{0},
                                         [](auto sum, const auto& batch) { return sum + batch.targets(); });
      if (repetition >= 0) one.users_per_second.push_back(static_cast<double>(users) / seconds);
    }
}

/// Nearest rank: the smallest value that at least this share of all values do not exceed.
double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const auto at = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(values.size()))) - 1;
  return values[static_cast<std::size_t>(std::max<std::int64_t>(0, at))];
}

base::Json percentiles(const std::vector<double>& values) {
  return {{"p50", percentile(values, 0.5)}, {"p95", percentile(values, 0.95)}, {"p99", percentile(values, 0.99)}};
}

base::Json side_json(const Entrant& one) {
  return {
      {"weights_hash", one.weights_hash},
      {"latency_us",
       {{"encoder", percentiles(one.encoder)}, {"search", percentiles(one.search)}, {"total", percentiles(one.total)}}},
      {"users_per_second", percentile(one.users_per_second, 0.5)}};
}

/// How many times as fast as the teacher a side is, at the median.
base::Json gains_of(const base::Json& sides) {
  base::Json out;  // null without a teacher
  if (!sides.contains("teacher")) return out;
  const auto median = [](const base::Json& side, const char* part) {
    return side.at("latency_us").at(part).at("p50").get<double>();
  };
  const auto& teacher = sides.at("teacher");
  for (const auto& [name, side] : sides.items()) {
    if (name == "teacher") continue;
    for (const char* part : {"encoder", "search", "total"})
      out[name][part] = median(teacher, part) / median(side, part);
    out[name]["throughput"] = side.at("users_per_second").get<double>() / teacher.at("users_per_second").get<double>();
  }
  return out;
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
  return "unknown";
}

}  // namespace

void BenchOptions::describe(base::Fields& fields) {
  fields.integer("k", k, {1, 1e6}, "items an answer");
  fields.integer("histories", histories, {1, 1e6}, "of the test split, spread evenly over the dataset");
  fields.integer("repetitions", repetitions, {1, 1e6}, "of each history, and of the batches");
  fields.integer("warm_up", warm_up, {0, 1e6}, "histories a model before anything is timed");
  fields.integer("batch", batch, {1, 1e6}, "histories a batch, for throughput");
}

base::Json bench_models(Workspace& space, const BenchOptions& options) {
  const auto rows = rows_of(space.dataset(), options.histories);
  auto entrants = gather(space, options, rows);
  measure_latency(entrants, options);
  measure_throughput(entrants, options, space.context.threads);
  base::Json sides;
  for (const auto& one : entrants) sides[one.name] = side_json(one);
  return {{"decant", DECANT_VERSION},
          {"processor", processor()},
          {"int8_kernel", models::int8_kernel_name()},
          {"items", space.dataset().info().items},
          {"k", options.k},
          {"histories", std::ssize(rows)},
          {"repetitions", options.repetitions},
          {"batch", options.batch},
          {"threads", space.context.threads},
          {"rows", rows},
          {"sides", sides},
          {"speed_gained", gains_of(sides)}};
}

}  // namespace decant::trainer
