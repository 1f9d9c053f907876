#include "trainer/compare.h"

#include <cmath>
#include <cstdio>
#include <numeric>
#include <sstream>

#include "data/errors.h"
#include "trainer/ranking.h"
#include "trainer/side_evaluation.h"

namespace decant::trainer {
namespace {

const data::TargetRanks& split_of(const data::RankFile& file, const CompareOptions& options) {
  return options.split == "valid" ? file.valid : file.test;
}

const std::vector<std::uint32_t>& ranks_of(const data::RankFile& file, const CompareOptions& options) {
  const auto& split = split_of(file, options);
  return options.unseen ? split.unseen : split.all;
}

void check_same_targets(const data::RankFile& a, const data::RankFile& b, const CompareOptions& options) {
  const auto &one = split_of(a, options), &other = split_of(b, options);
  if (a.content_hash == b.content_hash && one.rows == other.rows && one.targets == other.targets) return;
  throw data::DataError("ranks of " + a.side + " and " + b.side,
                        "are not of the same users and targets, so they cannot be "
                        "compared: the datasets differ");
}

base::Json json_of(const Difference& found) {
  return {{"mean", found.mean},           {"low", found.low},     {"high", found.high},  {"p", found.p},
          {"deviation", found.deviation}, {"seeds", found.seeds}, {"users", found.users}};
}

}  // namespace

void CompareOptions::describe(base::Fields& fields) {
  fields.text("metric", metric, "recall, ndcg or mrr at 1, 5, 10, 20 or 50");
  fields.text("split", split, "of the targets", {"valid", "test"});
  fields.flag("unseen", unseen, "leave the items of the history out of the ranking");
  fields.integer("replicates", replicates, {100, 1e7}, "of the bootstrap");
  fields.real("confidence", confidence, {0.5, 0.9999}, "of the interval");
  fields.integer("seed", seed, {0, 9e15}, "of the bootstrap's draws");
}

Difference compare(const SeedRanks& side, const SeedRanks& against, const CompareOptions& options, int threads) {
  if (side.empty() || (against.size() != side.size() && against.size() != 1))
    throw base::ConfigError(
        "a comparison needs the same number of seeds on both sides, or one on the other: there are " +
        std::to_string(side.size()) + " and " + std::to_string(against.size()));
  const Gain gain(options.metric);
  std::vector<std::vector<float>> differences;
  for (std::size_t s = 0; s < side.size(); ++s) {
    const auto& other = against.size() == 1 ? against.front() : against[s];
    check_same_targets(side.front(), side[s], options);
    check_same_targets(side[s], other, options);
    const auto &ours = ranks_of(side[s], options), &theirs = ranks_of(other, options);
    if (ours.empty()) throw data::DataError("ranks of " + side[s].side, "hold no target of " + options.split);
    auto& row = differences.emplace_back();
    row.reserve(ours.size());
    for (std::size_t u = 0; u < ours.size(); ++u) row.push_back(static_cast<float>(gain(ours[u]) - gain(theirs[u])));
  }
  return bootstrap(differences,
                   {options.replicates, options.confidence, static_cast<std::uint64_t>(options.seed), threads});
}

Level level_of(const SeedRanks& side, const CompareOptions& options) {
  const Gain gain(options.metric);
  std::vector<double> means;
  for (const auto& file : side) {
    const auto& ranks = ranks_of(file, options);
    double sum = 0;
    for (const auto rank : ranks) sum += gain(rank);
    means.push_back(ranks.empty() ? 0 : sum / static_cast<double>(ranks.size()));
  }
  Level out;
  out.seeds = static_cast<std::int64_t>(means.size());
  out.mean = std::accumulate(means.begin(), means.end(), 0.0) / static_cast<double>(means.size());
  double squares = 0;
  for (const double mean : means) squares += (mean - out.mean) * (mean - out.mean);
  out.deviation = means.size() > 1 ? std::sqrt(squares / static_cast<double>(means.size() - 1)) : 0;
  return out;
}

base::Json compare_sides(const std::vector<std::pair<std::string, SeedRanks>>& sides, const CompareOptions& options,
                         int threads) {
  base::Json out{{"metric", options.metric},
                 {"split", options.split},
                 {"unseen", options.unseen},
                 {"replicates", options.replicates},
                 {"confidence", options.confidence}};
  out["sides"] = base::Json::object();
  out["student_less"] = base::Json::object();
  const SeedRanks* student = nullptr;
  for (const auto& [name, files] : sides) {
    const auto level = level_of(files, options);
    out["sides"][name] = {{"mean", level.mean}, {"deviation", level.deviation}, {"seeds", level.seeds}};
    if (name == "student") student = &files;
  }
  for (const auto& [name, files] : sides)
    if (student != nullptr && name != "student" && (files.size() == student->size() || files.size() == 1))
      out["student_less"][name] = json_of(compare(*student, files, options, threads));
  return out;
}

namespace {

/// Sides of which every folder has ranks. Throws ConfigError when a folder is not there, DataError naming the file when a
/// student's ranks are missing.
std::vector<std::pair<std::string, SeedRanks>> sides_of_all(const std::vector<std::string>& folders) {
  for (const auto& folder : folders)
    if (!fs::exists(folder)) throw base::ConfigError(folder + ": no such folder");
  std::vector<std::pair<std::string, SeedRanks>> sides;
  for (const char* name : {"teacher", "student", "control", "popularity", "transitions"}) {
    SeedRanks files;
    for (const auto& folder : folders)
      if (const auto path = ranks_path(folder, name); fs::exists(path)) files.push_back(data::read_ranks(path));
    if (std::string_view(name) == "student" && files.size() != folders.size())
      for (const auto& folder : folders) static_cast<void>(data::read_ranks(ranks_path(folder, name)));  // says which
    if (files.size() == folders.size()) sides.emplace_back(name, std::move(files));
  }
  return sides;
}

}  // namespace

base::Json compare_runs(const std::vector<std::string>& folders, const CompareOptions& options, int threads) {
  auto out = compare_sides(sides_of_all(folders), options, threads);
  out["runs"] = folders;
  return out;
}

base::Json compare_jobs(const std::vector<std::string>& folders, const CompareOptions& options, int threads) {
  base::Json out{{"runs", folders},          {"metric", options.metric},       {"split", options.split},
                 {"unseen", options.unseen}, {"levels", base::Json::object()}, {"less_first", base::Json::object()}};
  for (const auto& [name, files] : sides_of_all(folders))
    for (std::size_t i = 0; i < files.size(); ++i) {
      out["levels"][name].push_back(level_of({files[i]}, options).mean);
      if (i > 0) out["less_first"][name].push_back(json_of(compare({files[i]}, {files[0]}, options, threads)));
    }
  return out;
}

namespace {

std::string format_jobs(const base::Json& comparison) {
  std::ostringstream out;
  char line[200];
  for (const auto& [name, levels] : comparison.at("levels").items())
    for (std::size_t i = 0; i < levels.size(); ++i) {
      std::snprintf(line, sizeof line, "%-12s %10.4f", name.c_str(), levels[i].get<double>());
      out << line;
      if (i > 0) {
        const auto& less = comparison.at("less_first").at(name).at(i - 1);
        std::snprintf(line, sizeof line, "  %+10.4f  [%+.4f, %+.4f]  p %.4f", less.at("mean").get<double>(),
                      less.at("low").get<double>(), less.at("high").get<double>(), less.at("p").get<double>());
        out << line;
      }
      out << (i > 0 ? "  " : std::string(44, ' ')) << comparison.at("runs").at(i).get<std::string>() << "\n";
    }
  return out.str();
}

}  // namespace

std::string format_comparison(const base::Json& comparison) {
  std::ostringstream out;
  char line[200];
  std::snprintf(line, sizeof line, "%s of %s, %s\n", comparison.at("metric").get<std::string>().c_str(),
                comparison.at("split").get<std::string>().c_str(),
                comparison.at("unseen").get<bool>() ? "seen items left out" : "all items ranked");
  out << line;
  if (comparison.contains("levels")) return out.str() + format_jobs(comparison);
  for (const auto& [name, side] : comparison.at("sides").items()) {
    std::snprintf(line, sizeof line, "%-24s %10.4f  +- %.4f over %lld seed%s\n", name.c_str(),
                  side.at("mean").get<double>(), side.at("deviation").get<double>(), side.at("seeds").get<long long>(),
                  side.at("seeds") == 1 ? "" : "s");
    out << line;
  }
  for (const auto& [name, less] : comparison.at("student_less").items()) {
    std::snprintf(line, sizeof line, "%-24s %+10.4f  [%+.4f, %+.4f]  p %.4f\n", ("student - " + name).c_str(),
                  less.at("mean").get<double>(), less.at("low").get<double>(), less.at("high").get<double>(),
                  less.at("p").get<double>());
    out << line;
  }
  return out.str();
}

}  // namespace decant::trainer
