#include "trainer/labeller.h"

#include <chrono>
#include <numeric>

#include "base/files.h"
#include "trainer/blocks.h"
#include "trainer/errors.h"
#include "trainer/next_item.h"

namespace decant::trainer {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::int64_t kBlockRows = 64;

template <class T>
void append(std::vector<T>& to, const torch::Tensor& from) {
  const auto host = from.cpu().contiguous();
  const auto* data = static_cast<const T*>(host.const_data_ptr());
  to.insert(to.end(), data, data + host.numel());
}

/// The teacher's labels of one fixed block of rows.
data::TopKLabels label_block(models::SequenceModel& teacher, const data::Dataset& dataset, std::int64_t first,
                             std::int64_t last, const data::LabelSpec& spec, torch::Device device) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(last - first));
  std::iota(rows.begin(), rows.end(), first);
  const auto batch = dataset.training_batch(rows, spec.max_length);
  data::TopKLabels out;
  out.k = spec.k;
  out.temperatures = spec.temperatures;
  if (batch.targets() == 0) return out;
  const auto scores = teacher.forward(make_inputs(batch, device, 0)).scores;
  const auto targets = torch::tensor(batch.target_ids, torch::kInt64).to(device);
  const auto best = teacher.table().topk(scores.hidden, {spec.k, spec.temperatures, targets});
  if (!best.logits.isfinite().all().item<bool>() || !best.target_logit.isfinite().all().item<bool>() ||
      best.rest_lse.isnan().any().item<bool>())
    throw NumericError("the teacher's scores of rows " + std::to_string(first) + " to " + std::to_string(last - 1) +
                       " are not finite");
  const auto peak = best.logits.select(1, 0);
  const auto temperatures = torch::tensor(spec.temperatures, torch::kFloat32).to(device);
  append(out.ids, best.ids);
  append(out.logits_half, (best.logits - peak.unsqueeze(1)).to(torch::kFloat16));
  append(out.peak, peak);
  append(out.rest_lse, best.rest_lse - peak.unsqueeze(1) / temperatures);
  append(out.target_logit, best.target_logit);
  append(out.target_rank, best.target_rank);
  return out;
}

void join(data::TopKLabels& to, const data::TopKLabels& from) {
  const auto add = [](auto& into, const auto& more) { into.insert(into.end(), more.begin(), more.end()); };
  add(to.ids, from.ids);
  add(to.logits_half, from.logits_half);
  add(to.peak, from.peak);
  add(to.rest_lse, from.rest_lse);
  add(to.target_logit, from.target_logit);
  add(to.target_rank, from.target_rank);
}

data::TopKLabels label_part(models::SequenceModel& teacher, const data::Dataset& dataset, std::int64_t first,
                            std::int64_t last, const data::LabelSpec& spec, Context& context) {
  const std::int64_t blocks = (last - first + kBlockRows - 1) / kBlockRows;
  std::vector<data::TopKLabels> parts(static_cast<std::size_t>(blocks));
  const auto device = context.communicator.device();
  for_each_block(blocks, 0, 1, context.threads, device, [&](std::int64_t block) {
    const std::int64_t begin = first + block * kBlockRows;
    parts[static_cast<std::size_t>(block)] =
        label_block(teacher, dataset, begin, std::min(begin + kBlockRows, last), spec, device);
  });
  data::TopKLabels all;
  all.k = spec.k;
  all.temperatures = spec.temperatures;
  for (const auto& part : parts) join(all, part);
  return all;
}

std::int64_t bytes_in(const std::filesystem::path& folder) {
  std::int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    bytes += static_cast<std::int64_t>(entry.file_size());
  return bytes;
}

void check_disk(const std::filesystem::path& folder, const data::LabelSpec& spec, std::int64_t positions) {
  const auto needed = static_cast<std::uintmax_t>(positions * data::label_bytes_per_target(spec));
  const auto free = base::free_bytes(folder);
  if (needed > free)
    throw base::FileError(folder.string(), "the labels take about " + std::to_string(needed >> 20) + " MiB and only " +
                                               std::to_string(free >> 20) + " MiB are free; lower labels.k");
}

}  // namespace

LabelResult label_dataset(models::SequenceModel& teacher, const data::Dataset& dataset, const data::LabelSpec& spec,
                          const std::filesystem::path& folder, Context& context) {
  context.metrics.set_stage("labels");
  teacher.eval();
  const data::LabelWriter writer(folder, dataset, spec);
  LabelResult result;
  result.positions = data::training_targets(dataset, spec.max_length);
  if (context.leads()) {
    writer.prepare();
    check_disk(folder, spec, result.positions);
  }
  context.communicator.barrier();
  const auto started = Clock::now();
  const std::int64_t parts = writer.parts(), world = context.world();
  const std::int64_t mine = (parts - context.rank() + world - 1) / world;  // parts of this rank
  context.metrics.set("decant_label_parts", static_cast<double>(mine));
  context.progress.start("labels", 0, mine);
  std::vector<std::int64_t> labelled(1, 0), stopped(1, 0);
  for (std::int64_t part = context.rank(); part < parts; part += context.world()) {
    if (context.stop_requested) {
      stopped[0] = 1;
      break;
    }
    if (!writer.has_part(part)) {
      const auto [first, last] = writer.part_rows(part);
      const auto labels = label_part(teacher, dataset, first, last, spec, context);
      context.faults.at("label-part", part);
      writer.write_part(part, labels);
      labelled[0] += static_cast<std::int64_t>(labels.peak.size());
      context.metrics.add("decant_label_positions_total", static_cast<double>(labels.peak.size()));
    }
    const std::int64_t done = part / world + 1;
    context.metrics.set("decant_label_parts_done", static_cast<double>(done));
    context.progress.update(done, "");
  }
  context.communicator.all_reduce_host(labelled, dist::Reduce::kSum);
  // Agreed on: a rank that had no part left must not wait for one that went.
  context.communicator.all_reduce_host(stopped, dist::Reduce::kMax);
  if (stopped[0] > 0)
    throw Stopped(
        "stopped by a signal while labelling; finished parts are kept: run the same command again to continue");
  const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
  if (context.leads()) writer.finish();
  context.communicator.barrier();
  result.labelled_now = labelled[0];
  result.positions_per_second = labelled[0] > 0 ? static_cast<double>(labelled[0]) / seconds : 0;
  result.bytes = bytes_in(folder);
  context.progress.finish("labels done: " + std::to_string(result.positions) + " positions");
  return result;
}

}  // namespace decant::trainer
