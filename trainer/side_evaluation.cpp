#include "trainer/side_evaluation.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "data/rank_file.h"

namespace decant::trainer {
namespace {

/// All processes' targets on the leading one, by row.
data::TargetRanks gather(const std::vector<TargetRank>& mine, Context& context) {
  static_assert(std::is_trivially_copyable_v<TargetRank>);
  std::string bytes(mine.size() * sizeof(TargetRank), '\0');
  if (!mine.empty()) std::memcpy(bytes.data(), mine.data(), bytes.size());
  const auto everyone = context.communicator.gather_bytes(bytes);
  data::TargetRanks out;
  if (!context.leads()) return out;
  std::vector<TargetRank> all;
  for (const auto& part : everyone) {
    const auto before = all.size();
    all.resize(before + part.size() / sizeof(TargetRank));
    if (!part.empty()) std::memcpy(all.data() + before, part.data(), part.size());
  }
  std::sort(all.begin(), all.end(), [](const TargetRank& a, const TargetRank& b) { return a.row < b.row; });
  for (const auto& target : all) {
    out.rows.push_back(static_cast<std::uint64_t>(target.row));
    out.targets.push_back(static_cast<std::uint32_t>(target.target));
    out.all.push_back(static_cast<std::uint32_t>(target.all));
    out.unseen.push_back(static_cast<std::uint32_t>(target.unseen));
  }
  return out;
}

void save(const SideEvaluation& found, const std::string& side, Workspace& space) {
  data::RankFile file;
  file.side = side;
  if (space.context.leads())
    if (const auto record = read_stage(space.folder(side)); record)
      file.weights_hash = record->result.value("weights_hash", "");
  file.content_hash = space.dataset().info().content_hash;
  file.valid = gather(found.records.valid, space.context);
  file.test = gather(found.records.test, space.context);
  if (space.context.leads()) data::write_ranks(ranks_path(space.job.run.folder, side), file);
}

}  // namespace

fs::path ranks_path(const fs::path& run_folder, const std::string& side) { return run_folder / side / "ranks.h5"; }

SideEvaluation evaluate_side(models::SequenceModel& model, const std::string& side, Workspace& space) {
  SideEvaluation found;
  found.valid = evaluate_model(model, space.dataset(), data::Split::kValid, true, space.context, &found.records.valid);
  found.test = evaluate_model(model, space.dataset(), data::Split::kTest, true, space.context, &found.records.test);
  save(found, side, space);
  return found;
}

SideEvaluation evaluate_side(Baseline baseline, const std::string& side, Workspace& space) {
  const BaselineRanker ranker(space.dataset(), baseline);
  SideEvaluation found;
  found.valid = ranker.evaluate(data::Split::kValid, space.context, &found.records.valid);
  found.test = ranker.evaluate(data::Split::kTest, space.context, &found.records.test);
  save(found, side, space);
  return found;
}

}  // namespace decant::trainer
