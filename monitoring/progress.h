// What a person sees while a stage runs: one line that is rewritten on a terminal, a plain line now and then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>

namespace decant::monitoring {

/// Silent unless made with `visible` (rank 0). Thread-safe. `text` is what the caller has to say beside the bar:
/// "epoch 3  12.3k seq/s  loss 7.21".
class Progress {
 public:
  Progress(std::FILE* out, bool visible);
  /// "teacher  [####....]  41%  epoch 3  12.3k seq/s  loss 7.21  ETA 0:42". At most ten times a second on a terminal,
  /// every ten seconds elsewhere; `total` 0: no bar and no ETA. ETA is from the rate since `start`.
  void start(const std::string& stage, std::int64_t done, std::int64_t total);
  void update(std::int64_t done, const std::string& text);
  /// Removes the progress line and puts `text` in its place, unless it is empty: "teacher done: 812 steps".
  void finish(const std::string& text);
  /// A line of its own, above the progress line.
  void say(const std::string& text);
  /// Leaves the line as it stands and begins a new one, so that what another writer prints is legible.
  void leave();

 private:
  using Clock = std::chrono::steady_clock;
  void draw(Clock::time_point now);
  [[nodiscard]] std::string line(Clock::time_point now, std::int64_t bar_cells) const;
  std::FILE* out_;
  bool visible_, terminal_, open_ = false;
  std::string stage_, text_;
  std::int64_t first_ = 0, done_ = 0, total_ = 0;
  Clock::time_point started_, drawn_;
  std::mutex mutex_;
};

/// <folder>/rank-<r>.log: a line an event with UTC time; appended, flushed at each line. Thread-safe. Throws FileError
/// when the file cannot be opened; a line that cannot be written later is lost, since a job does not die of its log.
class RankLog {
 public:
  RankLog() = default;  // keeps nothing
  RankLog(const std::filesystem::path& folder, int rank);
  void line(const std::string& text);

 private:
  std::ofstream out_;
  std::mutex mutex_;
};

}  // namespace decant::monitoring
