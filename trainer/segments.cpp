#include "trainer/segments.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>
#include <unordered_map>

#include "data/errors.h"
#include "data/line_reader.h"

namespace decant::trainer {
namespace {

using data::Split;

/// Shares of the training events that head, and head and torso together, make up.
constexpr double kHead = 0.5, kTorso = 0.8;
constexpr std::int64_t kHistoryBounds[] = {5, 10, 20, 50};
constexpr std::size_t kWorst = 5;

Segment by_popularity(const data::Dataset& dataset) {
  const auto& counts = dataset.training_counts();
  std::vector<std::size_t> order(counts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return counts[a] > counts[b]; });
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  auto group = std::make_shared<std::vector<std::size_t>>(counts.size());
  double before = 0;
  for (const auto item : order) {
    (*group)[item] = counts[item] == 0 ? 3 : before < kHead * total ? 0 : before < kTorso * total ? 1 : 2;
    before += static_cast<double>(counts[item]);
  }
  return {"popularity", {"head", "torso", "tail", "cold"}, [group](const TargetRank& target, Split) {
            return (*group)[static_cast<std::size_t>(target.target)];
          }};
}

Segment by_history(const data::Dataset& dataset) {
  return {"history", {"1-4", "5-9", "10-19", "20-49", "50+"}, [&dataset](const TargetRank& target, Split split) {
            const auto history = dataset.history_length(split, target.row);
            return static_cast<std::size_t>(
                std::upper_bound(std::begin(kHistoryBounds), std::end(kHistoryBounds), history) -
                std::begin(kHistoryBounds));
          }};
}

std::unordered_map<std::string, std::string> read_values(const std::string& file) {
  std::unordered_map<std::string, std::string> values;
  data::LineReader reader(file);
  std::string_view line;
  while (reader.next(line)) {
    if (line.empty()) continue;
    const auto tab = line.find('\t');
    if (tab == std::string_view::npos || tab == 0)
      throw data::DataError(file, "", reader.line_number(), "expected an id, a tab and a value");
    const auto [at, fresh] = values.emplace(line.substr(0, tab), line.substr(tab + 1));
    if (!fresh && at->second != line.substr(tab + 1))
      throw data::DataError(file, "", reader.line_number(), "the id '" + at->first + "' has another value already");
  }
  return values;
}

/// Every item or row with its number among `values`; weights decide which values are frequent.
Segment by_attribute(const data::Dataset& dataset, const std::string& name, const SegmentOptions& options,
                     std::int64_t most) {
  const auto known = read_values(options.file);
  const bool of_item = options.of == "item";
  std::vector<const std::string*> found(static_cast<std::size_t>(of_item ? dataset.info().items : dataset.info().rows));
  std::map<std::string, std::int64_t> weight;
  const auto take = [&](std::int64_t number, const std::string& id) {
    const auto at = known.find(id);
    if (at == known.end()) return;
    found[static_cast<std::size_t>(number)] = &at->second;
    weight[at->second] += of_item ? dataset.training_counts()[static_cast<std::size_t>(number)] : 1;
  };
  if (of_item)
    for (std::int64_t item = 0; item < dataset.info().items; ++item) take(item, dataset.item_name(item));
  else
    dataset.visit_users([&](std::int64_t row, std::string_view id) { take(row, std::string(id)); });
  if (weight.empty())
    throw data::DataError(options.file, "none of its ids is " + std::string(of_item ? "an item" : "a user") +
                                            " of the dataset (evaluate.segments." + name + ")");
  std::vector<std::pair<std::string, std::int64_t>> order(weight.begin(), weight.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  order.resize(std::min(order.size(), static_cast<std::size_t>(most)));
  Segment segment{name, {}, {}};
  std::unordered_map<std::string, std::size_t> place;
  for (const auto& [value, count] : order) {
    place[value] = segment.values.size();
    segment.values.push_back(value);
  }
  const auto other = segment.values.size(), none = other + 1;
  segment.values.insert(segment.values.end(), {"(other)", "(none)"});
  auto group = std::make_shared<std::vector<std::size_t>>(found.size(), none);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == nullptr) continue;
    const auto at = place.find(*found[i]);
    (*group)[i] = at == place.end() ? other : at->second;
  }
  segment.value_of = [group, of_item](const TargetRank& target, Split) {
    return (*group)[static_cast<std::size_t>(of_item ? target.target : target.row)];
  };
  return segment;
}

/// What one side comes to in one value of a segment.
struct Cell {
  RankHistogram valid, test;
  std::int64_t kl = 0, shared = 0;
};

void reduce(std::vector<Cell>& cells, dist::Communicator& communicator) {
  std::vector<std::int64_t> flat;
  for (auto& cell : cells) {
    for (auto* histogram : {&cell.valid, &cell.test})
      flat.insert(flat.end(), histogram->counts().begin(), histogram->counts().end());
    flat.insert(flat.end(), {cell.kl, cell.shared});
  }
  communicator.all_reduce_host(flat, dist::Reduce::kSum);
  const std::int64_t* at = flat.data();
  for (auto& cell : cells) {
    for (auto* histogram : {&cell.valid, &cell.test})
      for (auto& count : histogram->counts()) count = *at++;
    cell.kl = *at++;
    cell.shared = *at++;
  }
}

std::vector<Cell> count(const Segment& segment, const SideRecords& side, Context& context) {
  std::vector<Cell> cells(segment.values.size());
  for (const auto& target : side.valid) cells[segment.value_of(target, Split::kValid)].valid.add(target.all);
  for (const auto& target : side.test) cells[segment.value_of(target, Split::kTest)].test.add(target.all);
  for (std::size_t i = 0; i < side.fidelity.size(); ++i) {
    auto& cell = cells[segment.value_of(side.valid[i], Split::kValid)];
    cell.kl += side.fidelity[i].kl;
    cell.shared += side.fidelity[i].shared_at_10;
  }
  reduce(cells, context.communicator);
  return cells;
}

base::Json chosen_metrics(const RankHistogram& histogram, const std::string& metric) {
  const auto all = histogram.metrics();
  base::Json out;
  for (const auto& name : std::set<std::string>{metric, "ndcg@10", "recall@10", "mrr@10"}) out[name] = all.at(name);
  return out;
}

base::Json side_json(const Cell& cell, bool with_fidelity, const std::string& metric) {
  base::Json out{{"valid", chosen_metrics(cell.valid, metric)}, {"test", chosen_metrics(cell.test, metric)}};
  const auto targets = static_cast<double>(cell.valid.total());
  out["fidelity"] = !with_fidelity || targets == 0
                        ? base::Json()
                        : base::Json{{"valid_kl", static_cast<double>(cell.kl) / kFidelityUnit / targets},
                                     {"valid_shared@10", static_cast<double>(cell.shared) / targets}};
  return out;
}

/// The values in which the student is furthest below the teacher on valid, weighted by their share of the targets.
base::Json worst_of(const base::Json& by, const std::string& metric) {
  std::vector<base::Json> all;
  for (const auto& [segment, values] : by.items())
    for (const auto& entry : values) {
      if (!entry.contains("teacher") || !entry.contains("student")) continue;
      const double teacher = entry.at("teacher").at("valid").at(metric);
      const double student = entry.at("student").at("valid").at(metric);
      const double share = entry.at("share");
      if (teacher > student)
        all.push_back({{"segment", segment},
                       {"value", entry.at("value")},
                       {"share", share},
                       {"teacher", teacher},
                       {"student", student},
                       {"loss", (teacher - student) * share}});
    }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.at("loss") > b.at("loss"); });
  all.resize(std::min(all.size(), kWorst));
  return all;
}

}  // namespace

std::vector<Segment> make_segments(const data::Dataset& dataset, const EvaluateOptions& options) {
  std::vector<Segment> out{by_popularity(dataset), by_history(dataset)};
  for (const auto& [name, segment] : options.segments)
    out.push_back(by_attribute(dataset, name, *segment, options.segment_values));
  return out;
}

base::Json segments_json(const std::vector<Segment>& segments, const std::map<std::string, SideRecords>& sides,
                         const std::string& metric, Context& context) {
  base::Json by = base::Json::object();
  for (const auto& segment : segments) {
    base::Json values = base::Json::array();
    for (const auto& value : segment.values) values.push_back({{"value", value}});
    for (const auto& [name, side] : sides) {
      const auto cells = count(segment, side, context);
      std::vector<std::int64_t> measured{static_cast<std::int64_t>(side.fidelity.size())};
      context.communicator.all_reduce_host(measured, dist::Reduce::kSum);
      const auto total = std::accumulate(cells.begin(), cells.end(), std::int64_t{0},
                                         [](std::int64_t sum, const Cell& cell) { return sum + cell.valid.total(); });
      for (std::size_t i = 0; i < cells.size(); ++i) {
        values[i]["valid_targets"] = cells[i].valid.total();
        values[i]["test_targets"] = cells[i].test.total();
        values[i]["share"] =
            static_cast<double>(cells[i].valid.total()) / std::max<double>(1, static_cast<double>(total));
        values[i][name] = side_json(cells[i], measured[0] > 0, metric);
      }
    }
    by[segment.name] = std::move(values);
  }
  auto worst = worst_of(by, metric);
  return {{"metric", metric}, {"by", std::move(by)}, {"student_loses_most", std::move(worst)}};
}

std::string format_segments(const base::Json& report) {
  if (report.is_null()) return "";
  std::ostringstream out;
  char line[200];
  const auto metric = report.at("metric").get<std::string>();
  const auto number = [&](const base::Json& entry, const char* side, const char* split) {
    if (!entry.contains(side)) return std::string("-");
    char text[24];
    std::snprintf(text, sizeof text, "%.4f", entry.at(side).at(split).at(metric).get<double>());
    return std::string(text);
  };
  std::snprintf(line, sizeof line, "%-12s %-20s %8s %10s %10s %10s   (valid %s)\n", "segment", "value", "targets",
                "teacher", "student", "control", metric.c_str());
  out << line;
  for (const auto& [segment, values] : report.at("by").items())
    for (const auto& entry : values) {
      if (entry.value("valid_targets", 0) == 0) continue;
      std::snprintf(line, sizeof line, "%-12.12s %-20.20s %8lld %10s %10s %10s\n", segment.c_str(),
                    entry.at("value").get<std::string>().c_str(), entry.at("valid_targets").get<long long>(),
                    number(entry, "teacher", "valid").c_str(), number(entry, "student", "valid").c_str(),
                    number(entry, "control", "valid").c_str());
      out << line;
    }
  for (const auto& worst : report.at("student_loses_most")) {
    std::snprintf(line, sizeof line, "student loses %.4f in %s %s (%.0f %% of targets: %.4f against %.4f)\n",
                  worst.at("loss").get<double>(), worst.at("segment").get<std::string>().c_str(),
                  worst.at("value").get<std::string>().c_str(), 100 * worst.at("share").get<double>(),
                  worst.at("student").get<double>(), worst.at("teacher").get<double>());
    out << line;
  }
  return out.str();
}

}  // namespace decant::trainer
