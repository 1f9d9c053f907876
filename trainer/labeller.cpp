#include "trainer/labeller.h"

#include <chrono>
#include <functional>
#include <numeric>
#include <optional>

#include "base/files.h"
#include "trainer/blocks.h"
#include "trainer/errors.h"
#include "trainer/next_item.h"

namespace decant::trainer {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::int64_t kBlockRows = 64;

std::set<std::string> published(const LabelKind& kind) {
  auto taps = kind.taps();
  taps.erase("hidden");  // is returned anyway
  return taps;
}

/// The labels of one fixed block of rows.
data::LabelRows label_block(models::SequenceModel& teacher, const LabelKind& kind, const data::Dataset& dataset,
                            const std::vector<std::int64_t>& rows, const std::shared_ptr<const data::LabelSpec>& spec,
                            const models::Spread& spread, torch::Device device) {
  const auto batch = dataset.training_batch(rows, spec->max_length);
  data::LabelRows out(spec);
  if (batch.targets() == 0 && !teacher.table().collective()) return out;
  const auto inputs = make_inputs(batch, device, 0);
  auto output = ask(teacher, inputs, published(kind));
  const std::int64_t first = rows.empty() ? 0 : rows.front(), last = rows.empty() ? 0 : rows.back();
  TeacherBlock block{batch, dataset, first, last, output.scores.hidden, &teacher.table(), {}, {}, &spread};
  block.targets = torch::tensor(batch.target_ids, torch::kInt64).to(device);
  for (const auto& tap : kind.taps())
    block.taps[tap] = tap == "hidden" ? output.scores.hidden : output.taps.at(tap).index_select(0, inputs.score_tokens);
  kind.make(block, out);
  out.targets = batch.targets();
  return out;
}

/// On one thread, as blocks are labelled: the same bits at any number of threads.
void on_one_thread(models::SequenceModel& teacher, torch::Device device, const std::function<void()>& work) {
  if (teacher.table().collective()) {
    const torch::NoGradGuard no_grad;
    const OneThread one(device.is_cpu());
    return work();
  }
  // Two "threads": see for_each_block.
  for_each_block(1, 0, 1, device.is_cuda() ? 1 : 2, device, [&](std::int64_t) { work(); });
}

models::Spread spread_of(models::SequenceModel& teacher, torch::Device device) {
  models::Spread spread;
  on_one_thread(teacher, device, [&] { spread = teacher.table().spread(); });
  return spread;
}

std::vector<std::int64_t> rows_between(std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(last - first));
  std::iota(rows.begin(), rows.end(), first);
  return rows;
}

/// One run of labelling: what all parts share.
struct Labelling {
  const LabelTeachers& teachers;
  const LabelKind& kind;
  const data::Dataset& dataset;
  const data::LabelWriter& writer;
  const data::LabelSet* previous;  // null: nothing to take over
  Context& context;
  std::vector<models::Spread> spreads;  // by teacher
};

/// Rows that one teacher labels at once.
struct Block {
  std::size_t teacher = 0;
  std::vector<std::int64_t> rows{};
};

/// `rows` in order as blocks of the teacher that labels them; `block_of`: of each row.
std::vector<Block> blocks_of(const LabelTeachers& teachers, const std::vector<std::int64_t>& rows,
                             std::vector<std::size_t>& block_of) {
  std::vector<Block> blocks;
  std::vector<std::size_t> open(teachers.models.size(), 0);  // place of a teacher's last block, from 1; 0: none
  for (const auto row : rows) {
    auto& last = open[teachers.of(row)];
    if (last == 0 || blocks[last - 1].rows.size() == static_cast<std::size_t>(kBlockRows)) {
      blocks.push_back({teachers.of(row)});
      last = blocks.size();
    }
    blocks[last - 1].rows.push_back(row);
    block_of.push_back(last - 1);
  }
  return blocks;
}

/// Calls label(block) for all blocks: on threads, or, with collective tables, together with all ranks, one block each at a
/// time and one teacher after the other; then with -1 where this rank has no block left.
void label_blocks(const Labelling& of, const std::vector<Block>& blocks,
                  const std::function<void(std::size_t teacher, std::int64_t block)>& label) {
  if (!of.teachers.collective())
    return for_each_block(static_cast<std::int64_t>(blocks.size()), 0, 1, of.context.threads,
                          of.context.communicator.device(),
                          [&](std::int64_t at) { label(blocks[static_cast<std::size_t>(at)].teacher, at); });
  for (std::size_t teacher = 0; teacher < of.teachers.models.size(); ++teacher) {
    std::vector<std::int64_t> own;
    for (std::size_t at = 0; at < blocks.size(); ++at)
      if (blocks[at].teacher == teacher) own.push_back(static_cast<std::int64_t>(at));
    take_turns(static_cast<std::int64_t>(own.size()), of.context.communicator,
               [&](std::int64_t turn) { label(teacher, turn < 0 ? -1 : own[static_cast<std::size_t>(turn)]); });
  }
}

/// Labels of `rows`, in their order.
data::LabelRows label_rows(const Labelling& of, const std::vector<std::int64_t>& rows) {
  const auto& spec = of.writer.spec();
  std::vector<std::size_t> block_of;
  const auto blocks = blocks_of(of.teachers, rows, block_of);
  std::vector<data::LabelRows> parts(blocks.size());
  const auto device = of.context.communicator.device();
  label_blocks(of, blocks, [&](std::size_t teacher, std::int64_t at) {
    const auto label = [&](const std::vector<std::int64_t>& some) {
      return label_block(*of.teachers.models[teacher], of.kind, of.dataset, some, spec, of.spreads[teacher], device);
    };
    if (at < 0)
      static_cast<void>(label({}));  // takes part in the others' blocks
    else
      parts[static_cast<std::size_t>(at)] = label(blocks[static_cast<std::size_t>(at)].rows);
  });
  data::LabelRows all(spec);
  std::vector<std::int64_t> taken(blocks.size(), 0);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto targets = of.dataset.training_targets(rows[i], spec->max_length);
    all.append(parts[block_of[i]], taken[block_of[i]], targets);
    taken[block_of[i]] += targets;
  }
  return all;
}

/// The rows of a part, those that `previous` has kept from being labelled again; counts both.
data::LabelRows label_part(const Labelling& of, std::int64_t part, LabelResult& result) {
  const auto [first, last] = of.writer.part_rows(part);
  const auto rows = rows_between(first, last);
  std::vector<std::int64_t> missing;
  for (const auto row : rows)
    if (of.previous == nullptr || !of.previous->has_row(row)) missing.push_back(row);
  const auto made = label_rows(of, missing);
  result.labelled_now += made.targets;
  if (missing.size() == rows.size()) return made;
  result.reused_rows += static_cast<std::int64_t>(rows.size() - missing.size());
  data::LabelRows all(of.writer.spec());
  std::int64_t at = 0;
  auto next = missing.begin();
  for (const auto row : rows) {
    if (next == missing.end() || *next != row) {
      of.previous->read_row(row, all);
      continue;
    }
    ++next;
    const auto targets = of.dataset.training_targets(row, of.writer.spec()->max_length);
    all.append(made, at, targets);
    at += targets;
  }
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
    throw base::FileError(folder.string(), "the labels take up to " + std::to_string(needed >> 20) + " MiB and only " +
                                               std::to_string(free >> 20) +
                                               " MiB are free; lower labels.k, or choose another labels.kind or dtype");
}

/// A finished set of the same recipe and other events, when there is one.
std::optional<data::LabelSet> find_previous(const std::filesystem::path& folder, const data::Dataset& dataset,
                                            const data::LabelSpec& spec) {
  auto before = folder;
  before += ".previous";
  if (!std::filesystem::exists(before / "manifest.json")) return std::nullopt;
  try {
    auto set = data::LabelSet::of_other_events(before, dataset, spec.max_length);
    if (set.spec().recipe != spec.recipe || set.spec().columns != spec.columns) return std::nullopt;
    return set;
  } catch (const base::Error&) {
    return std::nullopt;  // damaged, or of another catalogue: everything is labelled anew
  }
}

/// What is to be done about a part, in the order of what it costs.
enum class Need : std::int64_t { kNothing, kCopy, kLabel };

Need need_of(const Labelling& of, std::int64_t part) {
  if (of.writer.has_part(part)) return Need::kNothing;
  if (of.previous == nullptr) return Need::kLabel;
  const auto [first, last] = of.writer.part_rows(part);
  for (std::int64_t row = first; row < last; ++row)
    if (!of.previous->has_row(row)) return Need::kLabel;
  return Need::kCopy;
}

/// This rank's share of the parts that are not there: those with rows to label are dealt first, then those to copy.
std::vector<std::int64_t> deal_parts(const Labelling& of) {
  auto& communicator = of.context.communicator;
  const std::int64_t world = of.context.world(), rank = of.context.rank();
  std::vector<std::int64_t> needs(static_cast<std::size_t>(of.writer.parts()), 0);
  for (std::int64_t part = rank; part < of.writer.parts(); part += world)
    needs[static_cast<std::size_t>(part)] = static_cast<std::int64_t>(need_of(of, part));
  communicator.all_reduce_host(needs, dist::Reduce::kMax);
  std::vector<std::int64_t> mine;
  std::int64_t dealt = 0;
  for (const auto need : {Need::kLabel, Need::kCopy})
    for (std::size_t part = 0; part < needs.size(); ++part)
      if (needs[part] == static_cast<std::int64_t>(need) && dealt++ % world == rank)
        mine.push_back(static_cast<std::int64_t>(part));
  return mine;
}

/// The same on every rank.
std::int64_t most_of_all(std::int64_t value, Context& context) {
  std::vector<std::int64_t> values{value};
  context.communicator.all_reduce_host(values, dist::Reduce::kMax);
  return values[0];
}

/// Labels this rank's parts; false when it was stopped. With a collective table ranks go from part to part together,
/// and a rank without a further part works on the others'.
bool label_parts(const Labelling& of, LabelResult& result) {
  auto& context = of.context;
  const bool together = of.teachers.collective();
  const auto mine = deal_parts(of);
  const auto count = static_cast<std::int64_t>(mine.size());
  const auto turns = together ? most_of_all(count, context) : count;
  context.metrics.set("decant_label_parts", static_cast<double>(count));
  context.progress.start("labels", 0, count);
  for (std::int64_t done = 0; done < turns; ++done) {
    const bool stop = context.stop_requested;
    if (together ? most_of_all(stop ? 1 : 0, context) > 0 : stop) return false;
    if (done >= count) {
      static_cast<void>(label_rows(of, {}));
      continue;
    }
    const std::int64_t part = mine[static_cast<std::size_t>(done)];
    context.communicator.stand_at("labels part " + std::to_string(part), -1);
    const auto labels = label_part(of, part, result);
    context.faults.at("label-part", part);
    of.writer.write_part(part, labels, context.threads, [&](const char* point) { context.faults.at(point, part); });
    ++result.parts_of_rank;
    context.metrics.add("decant_label_positions_total", static_cast<double>(labels.targets));
    context.metrics.set("decant_label_parts_done", static_cast<double>(done + 1));
    context.progress.update(done + 1, "");
  }
  return true;
}

}  // namespace

LabelShape label_shape(models::SequenceModel& teacher, const LabelKind& kind, const data::Dataset& dataset,
                       data::Element values) {
  LabelShape shape{dataset, teacher.max_length(), {}, values};
  if (kind.taps().empty()) return shape;
  const torch::NoGradGuard no_grad;
  data::PackedBatch one;
  one.sample_ids = {0}, one.offsets = {0, 1}, one.window_starts = {0};
  one.columns = {{"items", {0}}};
  one.target_tokens = {0};
  const auto device = teacher.parameters().front().device();
  const auto output = teacher.forward(make_inputs(one, device, 0), published(kind));
  for (const auto& tap : kind.taps())
    shape.tap_widths[tap] = (tap == "hidden" ? output.scores.hidden : output.taps.at(tap)).size(1);
  return shape;
}

double estimate_label_seconds(models::SequenceModel& teacher, const LabelKind& kind, const data::Dataset& dataset,
                              const data::LabelSpec& spec, torch::Device device, int workers) {
  const auto some = rows_between(0, std::min(dataset.info().rows, kBlockRows));
  const auto shared = std::make_shared<const data::LabelSpec>(spec);
  const auto spread = spread_of(teacher, device);
  double seconds = 0;
  std::int64_t targets = 0;
  // One block, on one thread as in labelling; the first time warms up.
  on_one_thread(teacher, device, [&] {
    for (int time = 0; time < 2; ++time) {
      const auto started = Clock::now();
      targets = label_block(teacher, kind, dataset, some, shared, spread, device).targets;
      seconds = std::chrono::duration<double>(Clock::now() - started).count();
    }
  });
  const auto all = static_cast<double>(data::training_targets(dataset, spec.max_length));
  return targets == 0 ? 0 : seconds / static_cast<double>(targets) * all / std::max(1, workers);
}

LabelResult label_dataset(const LabelTeachers& teachers, const LabelKind& kind, const data::Dataset& dataset,
                          const data::LabelSpec& spec, const std::filesystem::path& folder, Context& context) {
  context.metrics.set_stage("labels");
  context.communicator.stand_at("labels", -1);
  for (const auto& teacher : teachers.models) teacher->eval();
  const data::LabelWriter writer(folder, dataset, spec);
  LabelResult result;
  result.positions = data::training_targets(dataset, spec.max_length);
  if (context.leads()) {
    writer.prepare();
    check_disk(folder, spec, result.positions);
  }
  const auto device = context.communicator.device();
  const bool together = teachers.collective();
  if (context.leads() || together)
    result.estimated_seconds =
        estimate_label_seconds(*teachers.models.front(), kind, dataset, spec, device,
                               context.world() * (device.is_cuda() || together ? 1 : context.threads));
  if (context.leads()) {
    const auto bytes = result.positions * data::label_bytes_per_target(spec);
    context.progress.say("labels: " + std::to_string(result.positions) + " positions, at most " +
                         std::to_string(bytes >> 20) + " MiB, about " +
                         std::to_string(static_cast<std::int64_t>(result.estimated_seconds) + 1) + " s");
  }
  context.communicator.barrier();
  const auto started = Clock::now();
  const auto previous = find_previous(folder, dataset, spec);
  std::vector<models::Spread> spreads;
  for (const auto& teacher : teachers.models) spreads.push_back(spread_of(*teacher, device));
  const bool whole =
      label_parts({teachers, kind, dataset, writer, previous ? &*previous : nullptr, context, spreads}, result);
  std::vector<std::int64_t> sums{result.labelled_now, result.reused_rows}, stopped{whole ? 0 : 1};
  context.communicator.all_reduce_host(sums, dist::Reduce::kSum);
  // Agreed on: a rank that had no part left must not wait for one that went.
  context.communicator.all_reduce_host(stopped, dist::Reduce::kMax);
  if (stopped[0] > 0)
    throw Stopped(
        "stopped by a signal while labelling; finished parts are kept: run the same command again to continue");
  const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
  context.faults.at("label-manifest", 0);
  if (context.leads()) writer.finish();
  context.communicator.barrier();
  result.labelled_now = sums[0], result.reused_rows = sums[1];
  result.positions_per_second = result.labelled_now > 0 ? static_cast<double>(result.labelled_now) / seconds : 0;
  result.bytes = bytes_in(folder);
  context.progress.finish("labels done: " + std::to_string(result.positions) + " positions");
  return result;
}

}  // namespace decant::trainer
