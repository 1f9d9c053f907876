#include "trainer/train.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/files.h"
#include "base/random.h"
#include "data/loader.h"
#include "dist/gradient_reducer.h"
#include "trainer/balance.h"
#include "trainer/checkpoint_writer.h"
#include "trainer/errors.h"
#include "trainer/loss_sums.h"
#include "trainer/non_finite.h"
#include "trainer/ranking.h"
#include "trainer/schedule.h"
#include "trainer/step_meter.h"

namespace decant::trainer {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::vector<torch::Tensor> tensors_of(const models::NamedTensors& named) {
  std::vector<torch::Tensor> out;
  for (const auto& [name, tensor] : named) out.push_back(tensor);
  return out;
}

torch::ScalarType reduce_dtype(const TrainOptions& options) {
  return options.reduce_dtype == "bf16" ? torch::kBFloat16 : torch::kFloat32;
}

std::vector<std::string> names_of(const std::vector<NamedLoss>& losses) {
  std::vector<std::string> out;
  out.reserve(losses.size());
  for (const auto& named : losses) out.push_back(named.name);
  return out;
}

class Training {
 public:
  Training(Task& task, Optimizer& optimizer, const TrainSetup& setup, Context& context,
           const std::map<std::string, std::string>& metadata)
      : task_(task),
        optimizer_(optimizer),
        setup_(setup),
        context_(context),
        metadata_(metadata),
        balance_(setup.balance, names_of(task.losses())),
        sampler_(setup.dataset, setup.batch, setup.max_length, setup.seed, setup.left_out),
        sharded_(trained(task.sharded())),
        collective_(task.collective()),
        reducer_(tensors_of(replicated(task.parameters(), sharded_)), context.communicator,
                 {.reduce_dtype = reduce_dtype(setup.options)}),
        guard_(setup.options, setup.folder, where(), task, context),
        writer_({setup.folder / "checkpoints", setup.key, context.threads, setup.options.checkpoint_keep,
                 setup.options.checkpoint_keep_best, &context.faults},
                context.communicator),
        sums_(task, state_, context.metrics),
        meter_(context) {}

  TrainResult run() {
    resume();
    writer_.clear();
    data::Loader loader(setup_.dataset, setup_.labels, sampler_, setup_.max_length, {context_.rank(), context_.world()},
                        state_.position);
    context_.progress.start(where(), state_.step, expected_steps());
    std::string reason = state_.stopped_by;
    while (reason.empty()) {
      const auto started = Clock::now();
      const double waited = loader.waited_seconds();
      auto window = loader.next();
      if (collective_) fill_up(window);
      step(window);
      meter_.take(window, {.seconds = seconds_since(started),
                           .data_wait_seconds = loader.waited_seconds() - waited,
                           .exchange = exchanged_,
                           .steps_done = state_.step,
                           .epoch = running_epoch_,
                           .gradient_norm = norm_,
                           .learning_rate = learning_rate(state_.step - 1),
                           .loss = sums_.shown()});
      reason = boundary(window);
    }
    return finish(reason);
  }

 private:
  [[nodiscard]] static std::vector<ShardedParameter> trained(std::vector<ShardedParameter> sharded) {
    std::erase_if(sharded, [](const auto& parameter) { return !parameter.own.requires_grad(); });
    return sharded;
  }

  /// Every rank makes as many passes: micro-batches without rows where it has fewer.
  void fill_up(data::Window& window) const {
    std::vector<std::int64_t> most{static_cast<std::int64_t>(window.micro_batches.size())};
    context_.communicator.all_reduce_host(most, dist::Reduce::kMax);
    while (static_cast<std::int64_t>(window.micro_batches.size()) < most[0]) {
      auto& made = window.micro_batches.emplace_back();
      made.batch = setup_.dataset.training_batch({}, setup_.max_length);
      if (setup_.labels != nullptr) made.labels = setup_.labels->read(made.batch);
    }
  }

  // --- one optimiser step ---------------------------------------------------------------------------------------
  void step(data::Window& window) {
    const std::uint64_t key = base::key_of(setup_.seed, static_cast<std::uint64_t>(state_.step)) | 1;
    running_epoch_ = state_.position.epoch + 1;
    context_.communicator.stand_at(where(), state_.step);
    task_.begin_step(state_.step - state_.first_step);  // schedules count from the stage's beginning
    for (auto& batch : window.micro_batches) task_.augment(batch, key);
    const auto weights = agree_on_weights(window);
    auto divisors = weights;
    for (auto& weight : divisors) weight = weight > 0 ? weight : 1;
    measure_balance(window, divisors, key);
    std::vector<double> factors;
    for (const auto& named : task_.losses()) factors.push_back(named.multiplier());
    const bool planted = context_.faults.at("step", state_.step);
    reducer_.begin();
    guard_.begin_step();
    for (auto& parameter : sharded_) parameter.own.mutable_grad() = torch::Tensor();
    std::vector<torch::Tensor> sums(task_.losses().size());
    if (window.micro_batches.empty()) task_.join(key);
    for (std::size_t m = 0; m < window.micro_batches.size(); ++m) {
      auto parts = task_.loss_sums(window.micro_batches[m], key);
      if (planted) parts.front() = parts.front() * std::nan("");
      torch::Tensor total;
      for (std::size_t l = 0; l < parts.size(); ++l) {
        const auto scaled = parts[l] * (factors[l] / divisors[l]);
        total = total.defined() ? total + scaled : scaled;
        sums[l] = sums[l].defined() ? sums[l] + parts[l].detach() : parts[l].detach();
      }
      if (!total.requires_grad())
        throw base::ConfigError("no loss of stage '" + where() + "' reaches a parameter that is not frozen");
      // A collective backward has exchanges of its own, and those of the buckets come after it.
      if (m + 1 == window.micro_batches.size() && !collective_) reducer_.arm();
      total.backward(guard_.seed(window.micro_batches[m], parts, total));
    }
    context_.faults.at("collective", state_.step);
    exchanged_ = reducer_.finish();
    for (const auto& parameter : sharded_) parameter.table->exchange().sum_copies(parameter.own.grad());
    norm_ = gradient_norm(reducer_.buckets());
    if (!sharded_.empty()) norm_ = std::hypot(norm_, norm_of_shards());
    if (guard_.accepts(norm_, key, divisors, state_)) {
      clip();
      optimizer_.step(learning_rate(state_.step));
      task_.end_step();
      sums_.keep(std::move(sums), weights, std::move(factors));
    }
    ++state_.step;
    state_.position = window.next;
  }

  /// Sums the weights of the whole step over ranks before its first forward; the last step's loss sums, how many ranks have
  /// written their share of a checkpoint, and a wish to stop travel along, so that a step has one small exchange.
  std::vector<double> agree_on_weights(const data::Window& window) {
    const std::size_t losses = task_.losses().size();
    std::vector<double> values(losses, 0.0);
    for (std::size_t l = 0; l < losses; ++l)
      for (const auto& batch : window.micro_batches) values[l] += task_.loss_weight(l, batch);
    sums_.append(values);
    values.push_back(writer_.written() ? 1 : 0);
    values.push_back(context_.stop_requested ? 1 : 0);
    context_.communicator.all_reduce_host(values, dist::Reduce::kSum);
    sums_.add(values.data() + losses);
    stop_ = values.back() > 0;
    if (values[values.size() - 2] == context_.world()) writer_.commit();
    values.resize(losses);
    return values;
  }

  /// On steps that are due, from the very batches of the step, so that the first step is balanced too.
  void measure_balance(const data::Window& window, const std::vector<double>& weights, std::uint64_t key) {
    if (balance_.due(state_.step - state_.first_step)) {
      balance_.take(gradient_norms(task_, window.micro_batches, weights, key, context_.communicator));
      static_cast<void>(task_.take_counts());  // the step itself counts its labels
      task_.set_scales(balance_.scales());
      const auto measured = balance_.by_name();
      context_.log.line(where() + " step " + std::to_string(state_.step) + " scales " + measured.dump());
      for (const auto& [name, scale] : measured.items()) context_.metrics.set_part("decant_loss_scale", name, scale);
    }
  }

  void clip() {
    std::vector<torch::Tensor> gradients = reducer_.buckets();
    for (const auto& parameter : sharded_) gradients.push_back(parameter.own.grad());
    clip_gradient(gradients, norm_, setup_.options.clip_norm);
  }

  /// Of all ranks' rows together.
  [[nodiscard]] double norm_of_shards() {
    std::vector<double> squares{0};
    for (const auto& parameter : sharded_) {
      const double norm = gradient_norm({parameter.own.grad()});
      squares[0] += norm * norm / parameter.table->exchange().copies();
    }
    context_.communicator.all_reduce_host(squares, dist::Reduce::kSum);
    return std::sqrt(squares[0]);
  }
  // --------------------------------------------------------------------------------------------------------------

  double learning_rate(std::int64_t step) const {
    return (setup_.lr > 0 ? setup_.lr : optimizer_.base_lr()) *
           schedule_factor(setup_.options.schedule, step - state_.first_step);
  }

  /// For messages: "student", or "student, hints" in one of several stages of training.
  std::string where() const { return setup_.stage + (setup_.loss_stage.empty() ? "" : ", " + setup_.loss_stage); }

  /// What happens between steps: validation at an epoch's end, checkpoints, the bounds. Returns why to end, or "".
  std::string boundary(const data::Window& window) {
    const auto& options = setup_.options;
    const std::int64_t epochs = window.next.epoch - state_.first_epoch;
    const bool last_step = options.max_steps > 0 && state_.step - state_.first_step >= options.max_steps;
    const bool last_epoch = window.ends_epoch && epochs >= options.max_epochs;
    const bool validates = last_step || last_epoch || (window.ends_epoch && epochs % options.validate_epochs == 0);
    std::string reason;
    if (validates) {
      validate();
      if (options.patience > 0 && state_.stale >= options.patience) reason = "patience";
    }
    if (last_epoch) reason = "max_epochs";
    if (last_step) reason = "max_steps";
    state_.stopped_by = reason;
    if (validates || stop_ || (options.checkpoint_steps > 0 && state_.step % options.checkpoint_steps == 0)) save();
    if (validates && state_.stale == 0) complete();  // the weights that were replaced go with this state
    if (stop_ && reason.empty()) {
      writer_.finish();
      throw Stopped("stopped by a signal in stage '" + where() + "' after step " + std::to_string(state_.step) +
                    ", which is saved; run the same command again to continue");
    }
    return reason;
  }

  void validate() {
    context_.communicator.stand_at(where() + ", validation", state_.step);
    sum_last_step();
    const auto metrics = task_.validate();
    const double value = metrics.at(setup_.options.select);
    base::Json entry = base::Json::object();
    if (!setup_.loss_stage.empty()) entry["stage"] = setup_.loss_stage;
    entry.update({{"step", state_.step}, {"epoch", state_.position.epoch}, {setup_.options.select, value}});
    for (std::size_t l = 0; l < state_.loss_sums.size(); ++l)
      entry["loss"][task_.losses()[l].name] = state_.loss_sums[l] / std::max(state_.loss_weights[l], 1.0);
    if (balance_.on()) entry["scale"] = balance_.by_name();
    if (!state_.counts.empty()) entry["counted"] = state_.counts;
    state_.curve.push_back(entry);
    context_.log.line(setup_.stage + " validation " + entry.dump());
    sums_.reset();
    context_.metrics.set_part("decant_valid_metric", setup_.options.select, value);
    ++state_.stale;
    if (value > state_.best_value) {
      state_.best_value = value;
      state_.best_step = state_.step;
      state_.best_epoch = state_.position.epoch;
      state_.stale = 0;
      save_whole(setup_.folder / "weights.safetensors", task_.weights(), metadata_);
      if (!setup_.hand_over_last) hand_over();
    }
    char text[128];
    std::snprintf(text, sizeof text, "%s epoch %lld: loss %.4f, valid %s %.4f%s", where().c_str(),
                  static_cast<long long>(state_.position.epoch), entry["loss"].front().get<double>(),
                  setup_.options.select.c_str(), value, state_.stale == 0 ? " (best)" : "");
    context_.progress.say(text);
  }

  /// What the next stage of training begins with: the losses' parameters too, which are not exported.
  void hand_over() {
    if (!setup_.hand_over.empty()) save_whole(setup_.hand_over, task_.parameters(), {});
  }

  /// All ranks give what they have, the leader writes.
  void save_whole(const fs::path& path, const models::NamedTensors& tensors,
                  const std::map<std::string, std::string>& metadata) {
    const auto logical = logical_tensors(tensors, task_.sharded());
    if (context_.leads() || !task_.sharded().empty())
      static_cast<void>(models::save_tensors(path, logical, metadata, context_.leads()));
  }

  /// Training waits for the copy alone; a death before the commit, some steps later, continues from the one before.
  void save() {
    context_.communicator.stand_at(where() + ", checkpoint", state_.step);
    if (sums_.pending()) sum_last_step();
    state_.scales = balance_.state();
    const auto tensors = checkpoint_tensors(task_.state());
    const auto started = Clock::now();
    writer_.begin(state_, tensors);
    const double waited = seconds_since(started);
    char text[96];
    std::snprintf(text, sizeof text, " step %lld checkpoint: training waited %.1f ms",
                  static_cast<long long>(state_.step), 1e3 * waited);
    context_.log.line(where() + text);
    context_.metrics.add("decant_checkpoint_wait_seconds_total", waited);
    context_.metrics.add("decant_checkpoints_total", 1);
  }

  void complete() {
    const auto started = Clock::now();
    writer_.finish();
    context_.metrics.add("decant_checkpoint_wait_seconds_total", seconds_since(started));
  }

  void sum_last_step() {
    std::vector<double> sums;
    sums_.append(sums);
    context_.communicator.all_reduce_host(sums, dist::Reduce::kSum);
    sums_.add(sums.data());
  }

  std::vector<models::LogicalTensor> checkpoint_tensors(const models::NamedTensors& state) {
    const auto sharded = task_.sharded();
    auto all = logical_tensors(task_.parameters(), sharded, "parameter/");
    for (auto& tensor : logical_tensors(optimizer_.state(), sharded, "optimizer/")) all.push_back(std::move(tensor));
    for (auto& tensor : logical_tensors(state, {}, "state/")) all.push_back(std::move(tensor));
    return all;
  }

  void resume() {
    task_.train(true);
    const auto folder = setup_.folder / "checkpoints";
    const auto keys = checkpoint_keys(folder);
    if (std::find(keys.begin(), keys.end(), setup_.key) == keys.end()) return begin();
    const auto kept = task_.state();
    const auto found = load_newest_checkpoint(folder, setup_.key, checkpoint_tensors(kept));
    task_.restore(kept);
    state_ = found->state;
    balance_.restore(state_.scales);
    task_.set_scales(balance_.scales());
    std::string note = where() + " continues from step " + std::to_string(state_.step);
    if (found->ranks != context_.world() || found->threads != context_.threads)
      note += " (saved by " + std::to_string(found->ranks) + " ranks of " + std::to_string(found->threads) +
              " threads: equal to rounding, not to the bit)";
    context_.progress.say(note);
    context_.log.line(note);
  }

  void begin() {
    state_ = setup_.begin;
    sums_.reset();
  }

  std::int64_t expected_steps() const {
    const std::int64_t epochs = setup_.options.max_epochs * sampler_.steps(0);
    return state_.first_step + (setup_.options.max_steps > 0 ? std::min(setup_.options.max_steps, epochs) : epochs);
  }

  TrainResult finish(const std::string& reason) {
    TrainResult result;
    result.steps = state_.step;
    result.epochs = state_.position.epoch;
    result.best_step = state_.best_step;
    result.best_epoch = state_.best_epoch;
    result.best_value = state_.best_value;
    result.curve = state_.curve;
    result.skipped = state_.skipped;
    result.stopped_by = reason;
    result.sequences_per_second = meter_.sequences_per_second();
    result.data_wait_share = meter_.data_wait_share();
    result.end = state_;
    if (setup_.hand_over_last) hand_over();
    writer_.finish();  // and everybody reads what is handed over
    context_.progress.finish(where() + " done: " + std::to_string(result.steps) + " steps, best " +
                             setup_.options.select + " " + std::to_string(result.best_value) + " at epoch " +
                             std::to_string(result.best_epoch));
    return result;
  }

  Task& task_;
  Optimizer& optimizer_;
  const TrainSetup& setup_;
  Context& context_;
  const std::map<std::string, std::string>& metadata_;
  Balance balance_;
  data::Sampler sampler_;
  std::vector<ShardedParameter> sharded_;  // those that are trained
  bool collective_;
  dist::GradientReducer reducer_;
  NonFiniteGuard guard_;
  CheckpointWriter writer_;
  TrainState state_;
  dist::ReducerStats exchanged_;
  LossSums sums_;
  StepMeter meter_;
  double norm_ = 0;
  std::int64_t running_epoch_ = 1;
  bool stop_ = false;
};

}  // namespace

base::Json TrainResult::to_json() const {
  const auto or_null = [](double value) { return value > 0 ? base::Json(value) : base::Json(); };
  return {{"steps", steps},
          {"epochs", epochs},
          {"best_step", best_step},
          {"best_epoch", best_epoch},
          {"best_value", best_value},
          {"stopped_by", stopped_by},
          {"non_finite_steps", skipped},
          {"sequences_per_second", or_null(sequences_per_second)},
          {"data_wait_share", or_null(data_wait_share)},
          {"curve", curve}};
}

TrainResult train(Task& task, Optimizer& optimizer, const TrainSetup& setup, Context& context,
                  const std::map<std::string, std::string>& weights_metadata) {
  context.metrics.set_stage(setup.stage);
  context.communicator.stand_at(setup.stage, -1);
  return Training(task, optimizer, setup, context, weights_metadata).run();
}

}  // namespace decant::trainer
