// bench.json, its part of report.json, and its table.
#include <cstdio>

#include "base/files.h"
#include "trainer/bench.h"
#include "trainer/report_html.h"

namespace decant::trainer {
namespace {

constexpr const char* kFormat = "decant-bench";
constexpr int kVersion = 1;

fs::path bench_path(const fs::path& run_folder) { return run_folder / "bench.json"; }

/// Whether a side was measured with the weights that lie in the run folder now.
bool is_current(const fs::path& run_folder, const std::string& side, const base::Json& entry) {
  const auto record = read_stage(run_folder / (side == "student_int8" ? "student" : side));
  return record && record->done && record->result.value("weights_hash", "") == entry.at("weights_hash");
}

std::string gained(const base::Json& bench, const std::string& side, const char* what) {
  const auto& gains = bench.at("speed_gained");
  if (!gains.is_object() || !gains.contains(side)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", gains.at(side).at(what).get<double>());
  return text;
}

std::string line_of(const base::Json& bench, const std::string& side, const base::Json& entry) {
  char line[256];
  int at = std::snprintf(line, sizeof line, "%-13s", side.c_str());
  for (const char* part : {"encoder", "search", "total"}) {
    const auto& latency = entry.at("latency_us").at(part);
    at += std::snprintf(line + at, sizeof line - static_cast<std::size_t>(at), " %8.0f %6.0f %6.0f",
                        latency.at("p50").get<double>(), latency.at("p95").get<double>(),
                        latency.at("p99").get<double>());
  }
  std::snprintf(line + at, sizeof line - static_cast<std::size_t>(at), " %7s %9.0f %7s\n",
                gained(bench, side, "total").c_str(), entry.at("users_per_second").get<double>(),
                gained(bench, side, "throughput").c_str());
  return line;
}

}  // namespace

std::string format_bench(const base::Json& bench) {
  const auto number = [&](const char* key) { return std::to_string(bench.at(key).get<std::int64_t>()); };
  char heads[2][256];
  std::snprintf(heads[0], sizeof heads[0], "%-13s %22s %22s %22s %7s %9s %7s\n", "", "encoder", "search", "both",
                "gain", "users/s", "gain");
  std::snprintf(heads[1], sizeof heads[1], "%-13s %8s %6s %6s %8s %6s %6s %8s %6s %6s\n", "microseconds", "p50", "p95",
                "p99", "p50", "p95", "p99", "p50", "p95", "p99");
  std::string out = std::string(heads[0]) + heads[1];
  for (const auto& [side, entry] : bench.at("sides").items()) out += line_of(bench, side, entry);
  return out + "One history, one thread, the " + number("k") + " best of " + number("items") +
         " items: " + number("histories") + " histories of test, " + number("repetitions") +
         " times. users/s: batches of " + number("batch") + ", " + number("threads") +
         " threads.\nProcessor: " + bench.at("processor").get<std::string>() +
         "; int8 kernels: " + bench.at("int8_kernel").get<std::string>() + "\n";
}

void save_bench(const fs::path& run_folder, const base::Json& bench) {
  base::save_document(bench_path(run_folder), kFormat, kVersion, bench);
  const auto path = run_folder / "report.json";
  if (!fs::exists(path)) return;
  auto report = base::Json::parse(base::read_file(path), nullptr, false);
  if (!report.is_object()) throw base::FileError(path.string(), "is damaged: run 'decant evaluate' to make it anew");
  report["inference"] = inference_json(run_folder);
  base::write_file(path, report.dump(2) + "\n");
  write_report_html(run_folder, report);
}

base::Json inference_json(const fs::path& run_folder) {
  if (!fs::exists(bench_path(run_folder))) return nullptr;
  auto bench = base::load_document(bench_path(run_folder), kFormat, kVersion);
  for (const auto& [side, entry] : bench.at("sides").items())
    if (!is_current(run_folder, side, entry)) return nullptr;
  for (const char* key : {"format", "version", "checksum", "rows"}) bench.erase(key);
  return bench;
}

}  // namespace decant::trainer
