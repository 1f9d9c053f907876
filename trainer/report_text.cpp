// The table that is printed of a report.
#include <cstdio>
#include <sstream>
#include <string_view>

#include "trainer/pipeline.h"

namespace decant::trainer {

namespace {

std::string text(const base::Json& value, const char* format) {
  if (value.is_null()) return "-";
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, format, value.get<double>());
  return buffer;
}

std::string line_of(const std::string& side, const base::Json& entry) {
  const auto& all = entry.at("metrics").at("test");
  const auto& unseen = entry.at("metrics").at("test_unseen");
  const auto& fidelity = entry.at("fidelity");
  const auto& train = entry.at("train");
  char line[256];
  std::snprintf(line, sizeof line, "%-12s %12s %10.4f %10.4f %10.4f %10.4f %10s %12s\n", side.c_str(),
                text(entry.at("parameters"), "%.0f").c_str(), all.at("recall@10").get<double>(),
                all.at("ndcg@10").get<double>(), all.at("mrr@10").get<double>(), unseen.at("ndcg@10").get<double>(),
                text(fidelity.is_null() ? fidelity : fidelity.at("valid_overlap@10"), "%.3f").c_str(),
                text(train.is_null() ? train : train.at("sequences_per_second"), "%.0f").c_str());
  return line;
}

}  // namespace

std::string format_report(const base::Json& report) {
  std::ostringstream out;
  char line[256];
  std::snprintf(line, sizeof line, "\n%-12s %12s %10s %10s %10s %10s %10s %12s\n", "", "parameters", "recall@10",
                "ndcg@10", "mrr@10", "ndcg@10", "overlap", "train");
  out << line;
  std::snprintf(line, sizeof line, "%-12s %12s %10s %10s %10s %10s %10s %12s\n", "test", "", "all", "all", "all",
                "unseen", "@10", "seq/s");
  out << line;
  for (const char* side : {"teacher", "student", "control", "popularity", "transitions"}) {
    if (!report.at(side).is_null()) out << line_of(side, report.at(side));
    if (side == std::string_view("teacher") && report.contains("teachers") && report.at("teachers").is_object())
      for (const auto& [name, entry] : report.at("teachers").items()) out << line_of(name, entry);
  }
  for (const auto& remark : report.at("remarks")) out << "note: " << remark.get<std::string>() << "\n";
  return out.str();
}

}  // namespace decant::trainer
