#include "monitoring/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/errors.h"

namespace decant::monitoring {

namespace {

constexpr std::chrono::milliseconds kTerminalPause{100};
constexpr std::chrono::seconds kPlainPause{10};
constexpr std::int64_t kBarCells = 20, kFewestCells = 5;
constexpr const char* kClear = "\r\x1b[K";

/// "0:42", "1:02:03".
std::string clock_text(std::int64_t seconds) {
  std::array<char, 32> out{};
  const auto hours = static_cast<long>(seconds / 3600), minutes = static_cast<long>(seconds / 60 % 60);
  const auto rest = static_cast<long>(seconds % 60);
  if (hours > 0)
    std::snprintf(out.data(), out.size(), "%ld:%02ld:%02ld", hours, minutes, rest);
  else
    std::snprintf(out.data(), out.size(), "%ld:%02ld", minutes, rest);
  return out.data();
}

std::size_t columns(std::FILE* out) {
  winsize size{};
  const bool known = ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::FILE* out, bool visible)
    : out_(out), visible_(visible), terminal_(visible && ::isatty(::fileno(out)) == 1) {}

void Progress::start(const std::string& stage, std::int64_t done, std::int64_t total) {
  const std::lock_guard lock(mutex_);
  stage_ = stage;
  text_.clear();
  first_ = done_ = done;
  total_ = total;
  started_ = drawn_ = Clock::now();
  if (terminal_) draw(started_);
}

void Progress::update(std::int64_t done, const std::string& text) {
  const std::lock_guard lock(mutex_);
  done_ = done;
  text_ = text;
  const auto now = Clock::now();
  if (now - drawn_ >= (terminal_ ? Clock::duration(kTerminalPause) : Clock::duration(kPlainPause))) draw(now);
}

void Progress::finish(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (!visible_) return;
  if (terminal_) std::fputs(kClear, out_);
  if (!text.empty()) std::fprintf(out_, "%s\n", text.c_str());
  std::fflush(out_);
  open_ = false;
}

void Progress::say(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (!visible_) return;
  std::fprintf(out_, "%s%s\n", terminal_ ? kClear : "", text.c_str());
  std::fflush(out_);
  if (open_) draw(Clock::now());
}

void Progress::leave() {
  const std::lock_guard lock(mutex_);
  if (!visible_ || !open_) return;
  std::fputc('\n', out_);
  std::fflush(out_);
  open_ = false;
}

std::string Progress::line(Clock::time_point now, std::int64_t bar_cells) const {
  std::string out = stage_;
  if (total_ > 0) {
    const auto done = std::clamp<std::int64_t>(done_, 0, total_);
    const auto all = static_cast<std::size_t>(bar_cells), cells = static_cast<std::size_t>(done * bar_cells / total_);
    out += "  [" + std::string(cells, '#') + std::string(all - cells, '.') + "] ";
    const std::string percent = std::to_string(done * 100 / total_);
    out += std::string(3 - std::min<std::size_t>(percent.size(), 3), ' ') + percent + "%";
  }
  if (!text_.empty()) out += "  " + text_;
  if (total_ > 0 && done_ > first_) {
    const double elapsed = std::chrono::duration<double>(now - started_).count();
    const double left = elapsed / static_cast<double>(done_ - first_) * static_cast<double>(total_ - done_);
    out += "  ETA " + clock_text(static_cast<std::int64_t>(std::max(0.0, left)));
  }
  return out;
}

void Progress::draw(Clock::time_point now) {
  drawn_ = now;
  if (!visible_) return;
  std::string shown = line(now, kBarCells);
  if (terminal_) {
    // A line that wraps cannot be rewritten: the bar gives way first, it says the least.
    const std::size_t width = columns(out_) - 1;
    if (shown.size() > width) {
      const auto excess = static_cast<std::int64_t>(shown.size() - width);
      shown = line(now, std::max(kFewestCells, kBarCells - excess));
      shown.resize(std::min(shown.size(), width));
    }
    std::fprintf(out_, "%s%s", kClear, shown.c_str());
    open_ = true;
  } else {
    std::fprintf(out_, "%s\n", shown.c_str());
  }
  std::fflush(out_);
}

RankLog::RankLog(const std::filesystem::path& folder, int rank) {
  const std::filesystem::path path = folder / ("rank-" + std::to_string(rank) + ".log");
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw base::FileError(folder.string(), "cannot make the folder: " + error.message());
  errno = 0;
  out_.open(path, std::ios::app);
  if (!out_) throw base::FileError(path.string(), std::string("cannot open: ") + std::strerror(errno));
}

void RankLog::line(const std::string& text) {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> day{}, stamp{};
  std::strftime(day.data(), day.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(stamp.data(), stamp.size(), ".%03dZ ", static_cast<int>(milliseconds));
  const std::lock_guard lock(mutex_);
  out_ << day.data() << stamp.data() << text << '\n' << std::flush;
  out_.clear();  // a full disk now may have room again later
}

}  // namespace decant::monitoring
