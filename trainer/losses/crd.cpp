// Contrastive representation distillation (Tian, Krishnan, Isola 2020): student and teacher vectors, each mapped to one
// width and scaled to length 1, tell their own partner from drawn rows of the other side's bank by noise-contrastive
// estimation. A bank has a vector for every row of the dataset, each kept by one rank, and follows with momentum.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "base/random.h"
#include "models/initial.h"
#include "trainer/losses/vectors.h"
#include "trainer/row_gather.h"
#include "trainer/scoring.h"

namespace decant::trainer {
namespace {

using torch::Tensor;

constexpr std::uint64_t kSite = 0x637264;

struct CrdOptions : VectorOptions {
  std::int64_t negatives = 16384, width = 128;
  double temperature = 0.07, momentum = 0.5;
  void describe(base::Fields& fields) override {
    VectorOptions::describe(fields);
    fields.integer("negatives", negatives, {1, 1e8}, "rows drawn a step, shared by it (fewer when the dataset has)");
    fields.integer("width", width, {1, 65536}, "of both maps and of the banks");
    fields.real("temperature", temperature, {1e-3, 100}, "that cosines are divided by");
    fields.real("momentum", momentum, {0, 1}, "share of its old value that a bank's vector keeps");
  }
};

/// A vector for every row of the dataset; row i lives on rank i mod ranks.
class Bank {
 public:
  Bank(const LossContext& context, std::int64_t width, const std::string& name)
      : samples_(context.samples), rank_(context.rank), ranks_(context.ranks) {
    set(unit_rows(models::initial_uniform({samples_, width}, 1, context.seed, "loss.crd." + name)));
  }
  void set(const Tensor& all) {
    shard_ = all.index_select(0, at::arange(rank_, samples_, ranks_, all.options().dtype(torch::kInt64))).clone();
  }
  /// The vectors of `ids` [n], the same on every rank. Collective.
  [[nodiscard]] Tensor look_up(const Tensor& ids, RowGather& rows) {
    shard_ = shard_.to(ids.device());
    const auto mine = (ids.remainder(ranks_) == rank_).unsqueeze(1);
    const auto at = ids.div(ranks_, "floor").clamp_max(std::max<std::int64_t>(shard_.size(0) - 1, 0));
    if (shard_.size(0) == 0) return rows.sum(at::zeros({ids.size(0), shard_.size(1)}, shard_.options()));
    return rows.sum(shard_.index_select(0, at) * mine);
  }
  void follow(const Tensor& ids, const Tensor& vectors, double momentum) {
    const auto mine = (ids.remainder(ranks_) == rank_).nonzero().squeeze(1);
    const auto at = ids.index_select(0, mine).div(ranks_, "floor");
    const auto moved = momentum * shard_.index_select(0, at) + (1 - momentum) * vectors.index_select(0, mine);
    shard_.index_copy_(0, at, unit_rows(moved));
  }
  /// [samples, width]. Collective.
  [[nodiscard]] Tensor whole(dist::Communicator& communicator) const {
    const auto device = communicator.device();
    const std::int64_t most = (samples_ + ranks_ - 1) / ranks_;
    auto own = at::zeros({most, shard_.size(1)}, shard_.options().device(device));
    own.narrow(0, 0, shard_.size(0)).copy_(shard_);
    auto all = at::zeros({ranks_ * most, shard_.size(1)}, own.options());
    if (all.numel() > 0) communicator.all_gather(all, own)->wait();
    return all.view({ranks_, most, -1}).transpose(0, 1).reshape({ranks_ * most, -1}).narrow(0, 0, samples_);
  }

 private:
  std::int64_t samples_, rank_, ranks_;
  Tensor shard_;
};

class Crd : public VectorLoss {
 public:
  explicit Crd(const CrdOptions& options) : VectorLoss(options), options_(options), choice_("last") {
    if (options.labels.size() != 1) throw base::ConfigError("crd works on one label set: add an entry for each");
  }
  LossNeeds needs() const override {
    auto needs = VectorLoss::needs();
    needs.scope = Scope::kBatch;
    return needs;
  }
  double weight(const data::LabelledBatch& batch) const override { return choice_.weight(batch); }

  void prepare(const LossContext& context) override {
    const auto& set = sets()[0];
    if (context.samples < 2) throw base::ConfigError("crd needs a dataset of at least two rows");
    student_map_ =
        register_module("student", make_linear(context.tap_widths.at(tap()), options_.width, context.seed, "student"));
    teacher_map_ =
        register_module("teacher", make_linear(width_of(context, set), options_.width, context.seed, "teacher"));
    student_bank_ = std::make_unique<Bank>(context, options_.width, "student");
    teacher_bank_ = std::make_unique<Bank>(context, options_.width, "teacher");
    samples_ = context.samples;
    log_z_ = at::zeros({2});
  }

  Tensor sum(const LossInputs& in) override {
    const auto kept = choice_.of(in);
    const auto student = unit_rows(student_map_->forward(in.taps.at(tap()).index_select(0, kept)));
    const auto teacher = unit_rows(teacher_map_->forward(in.teacher.vectors.index_select(0, kept)));
    const auto own_ids = in.sample_ids.index_select(0, kept);
    const auto negatives = draw(in.step_key).to(own_ids.device());
    const auto gathered = in.rows->gather(own_ids);
    pending_ = {gathered.rows, in.rows->gather(student.detach()).rows, in.rows->gather(teacher.detach()).rows,
                log_z_.to(own_ids.device())};
    const auto ids = at::cat({gathered.rows, negatives});
    const auto losses = contrast(student, *teacher_bank_, ids, gathered, own_ids, 0, *in.rows) +
                        contrast(teacher, *student_bank_, ids, gathered, own_ids, 1, *in.rows);
    return (losses * in.target_weights.index_select(0, kept)).sum();
  }

  void end_step() override {
    if (!pending_.ids.defined()) return;
    const torch::NoGradGuard no_grad;
    student_bank_->follow(pending_.ids, pending_.student, options_.momentum);
    teacher_bank_->follow(pending_.ids, pending_.teacher, options_.momentum);
    log_z_ = pending_.log_z;
    pending_ = {};
  }
  models::NamedTensors state(dist::Communicator& communicator) override {
    return {{"student_bank", student_bank_->whole(communicator)},
            {"teacher_bank", teacher_bank_->whole(communicator)},
            {"log_z", log_z_.clone()}};
  }
  void restore(const models::NamedTensors& state) override {
    student_bank_->set(state.at(0).second);
    teacher_bank_->set(state.at(1).second);
    log_z_ = state.at(2).second.clone();
  }

 private:
  [[nodiscard]] Tensor draw(std::uint64_t step_key) const {
    const base::Permutation order(static_cast<std::uint64_t>(samples_), base::key_of(step_key, kSite));
    std::vector<std::int64_t> ids;
    for (std::int64_t i = 0; i < std::min(options_.negatives, samples_); ++i)
      ids.push_back(static_cast<std::int64_t>(order(static_cast<std::uint64_t>(i))));
    return torch::tensor(ids, torch::kInt64);
  }

  /// [own rows] of -log(p / (p + m/N)) - sum over the drawn rows but the own one of log((m/N) / (p + m/N)), in log space.
  [[nodiscard]] Tensor contrast(const Tensor& from, Bank& bank, const Tensor& ids, const GatheredRows& gathered,
                                const Tensor& own_ids, std::int64_t side, RowGather& rows) {
    const auto known = bank.look_up(ids, rows).detach();
    const auto n = gathered.rows.size(0), count = ids.size(0) - n;
    const auto scores = from.mm(known.narrow(0, n, count).t()) / options_.temperature;
    const auto own = (from * known.narrow(0, gathered.first, from.size(0))).sum(1) / options_.temperature;
    const auto itself = ids.narrow(0, n, count).unsqueeze(0) == own_ids.unsqueeze(1);
    const auto shift = normaliser(scores.detach(), own.detach(), itself, side, rows) +
                       std::log(static_cast<double>(count) / static_cast<double>(samples_));
    const auto others = at::log_sigmoid(shift - scores).masked_fill(itself, 0).sum(1);
    return -at::log_sigmoid(own - shift) - others;
  }

  /// log Z: N times the mean of exp(score) over the first step's pairs of all ranks, then a constant.
  [[nodiscard]] Tensor normaliser(const Tensor& scores, const Tensor& own, const Tensor& itself, std::int64_t side,
                                  RowGather& rows) {
    auto& log_z = pending_.log_z;
    const auto sums = rows.sum(at::stack({scores.exp().masked_fill(itself, 0).sum() + own.exp().sum(),
                                          (~itself).sum().to(torch::kFloat32) + own.size(0)}));
    if (log_z_[side].item<float>() == 0 && sums[1].item<float>() > 0) {
      log_z = log_z.clone();
      log_z[side] = (sums[0] / sums[1] * static_cast<double>(samples_)).log();
    }
    return log_z[side];
  }

  struct Pending {
    Tensor ids, student, teacher, log_z;
  };
  CrdOptions options_;
  TargetChoice choice_;
  torch::nn::Linear student_map_{nullptr}, teacher_map_{nullptr};
  std::unique_ptr<Bank> student_bank_, teacher_bank_;
  std::int64_t samples_ = 0;
  Tensor log_z_;  // [2] of the student's rows and of the teacher's; 0: not yet known
  Pending pending_;
};

}  // namespace

void add_crd(LossRegistry& registry) {
  registry.add<CrdOptions>("crd", [](const CrdOptions& o) { return std::make_shared<Crd>(o); });
}

}  // namespace decant::trainer
