#include "monitoring/scalar_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "monitoring/event_file.h"

namespace decant::monitoring {
namespace {

namespace fs = std::filesystem;

struct Tag {
  std::string_view metric, tag;
};
// Each stage of training sets these after decant_step has been set to the step that they tell of.
constexpr std::array kTags{
    Tag{"decant_loss", "loss"},
    Tag{"decant_valid_metric", "valid"},
    Tag{"decant_learning_rate", "learning_rate"},
    Tag{"decant_sequences_per_second", "sequences_per_second"},
    Tag{"decant_gradient_norm", "gradient_norm"},
    Tag{"decant_loss_scale", "loss_scale"},
};
constexpr std::string_view kStepMetric = "decant_step", kCheckpointMetric = "decant_checkpoints_total";
constexpr std::chrono::milliseconds kPause{200};  // between two writes: waking at every step slows short ones

struct Point {
  std::string stage, tag;
  std::int64_t step = 0;
  double wall_time = 0;
  float value = 0;
};

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

/// The file that is written to; another one for each session of a stage.
class EventFile {
 public:
  ~EventFile() { close(); }
  /// False, with errno set, when the disk did not take all of it.
  bool open(const fs::path& folder, double wall_time) {
    close();
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) return errno = error.value(), false;
    const fs::path path = folder / event_file_name(wall_time, files_++);
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    written_ = 0;
    return descriptor_ >= 0;
  }
  /// The same. What was taken in part is taken back: a reader stops at a record that is cut.
  bool append(std::string_view bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t count = ::write(descriptor_, bytes.data() + done, bytes.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        const int reason = errno;
        if (::ftruncate(descriptor_, written_) != 0 || ::lseek(descriptor_, written_, SEEK_SET) < 0) close();
        return errno = reason, false;
      }
      done += static_cast<std::size_t>(count);
    }
    written_ += static_cast<off_t>(bytes.size());
    return true;
  }
  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }
  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }

 private:
  int descriptor_ = -1;
  off_t written_ = 0;
  std::uint64_t files_ = 0;
};

}  // namespace

struct ScalarLog::Impl {
  Impl(Metrics& of, fs::path to, std::function<void(const std::string&)> tell)
      : metrics(of), folder(std::move(to)), warn(std::move(tell)), thread([this] { run(); }) {}

  Metrics& metrics;
  const fs::path folder;
  std::function<void(const std::string&)> warn;
  std::mutex mutex;  // of what follows, until the thread
  std::condition_variable changed;
  std::vector<Point> waiting;
  std::size_t lost = 0;  // found no room
  bool stop = false, hurry = false;
  // Of the thread that sets metrics.
  std::string stage;
  std::int64_t step = 0;
  // Of the thread that writes.
  EventFile file;
  std::string open_stage;
  std::int64_t last_step = 0;
  bool warned = false;
  std::thread thread;  // last: it uses all of these

  void take(const std::string& of_stage, const MetricKind& row, const std::string& part, double value) {
    if (of_stage != stage) stage = of_stage, step = 0;
    if (row.name == kStepMetric) step = static_cast<std::int64_t>(value);
    if (row.name == kCheckpointMetric) return write_now();
    const auto* const tag =
        std::find_if(kTags.begin(), kTags.end(), [&](const Tag& t) { return t.metric == row.name; });
    if (tag == kTags.end()) return;
    Point point{stage, std::string(tag->tag) + (part.empty() ? "" : "/" + part), step, now(),
                static_cast<float>(value)};
    const std::lock_guard lock(mutex);
    if (waiting.size() >= kMostWaiting) {
      ++lost;
      return;
    }
    waiting.push_back(std::move(point));
  }

  void write_now() {
    const std::lock_guard lock(mutex);
    hurry = true;
    changed.notify_one();
  }

  void run() {
    std::unique_lock lock(mutex);
    while (!stop || !waiting.empty()) {
      changed.wait_for(lock, kPause, [&] { return stop || hurry; });
      hurry = false;
      if (waiting.empty()) continue;
      const auto points = std::exchange(waiting, {});
      std::size_t dropped = std::exchange(lost, 0);
      lock.unlock();
      std::string why = "they come faster than they can be written";
      for (std::size_t at = 0; at < points.size();) at = write_some(points, at, dropped, why);
      if (dropped > 0) tell(dropped, why);
      lock.lock();
    }
  }

  /// Writes the points from `at` on that belong into one file, and returns where the next ones begin.
  std::size_t write_some(const std::vector<Point>& points, std::size_t at, std::size_t& dropped, std::string& why) {
    const Point& first = points[at];
    std::string bytes;
    // A stage that begins anew does so at an earlier step.
    if (!file.is_open() || first.stage != open_stage || first.step < last_step) {
      open_stage = first.stage;
      if (file.open(folder / first.stage, first.wall_time))
        bytes = tf_record(version_event(first.wall_time)) + tf_record(restart_event(first.wall_time, first.step));
    }
    last_step = first.step;
    std::size_t end = at;
    for (; end < points.size() && points[end].stage == open_stage && points[end].step >= last_step; ++end) {
      const Point& point = points[end];
      bytes += tf_record(scalar_event(point.wall_time, point.step, point.tag, point.value));
      last_step = point.step;
    }
    if (!file.is_open() || !file.append(bytes)) {
      why = std::strerror(errno);
      dropped += end - at;
      file.close();  // the next one begins with its own head
    }
    return end;
  }

  void tell(std::size_t dropped, const std::string& why) {
    metrics.add("decant_tensorboard_dropped_total", static_cast<double>(dropped));
    if (!std::exchange(warned, true))
      warn("points for TensorBoard are lost: " + folder.string() + ": " + why + "; the job goes on");
  }
};

ScalarLog::ScalarLog(Metrics& metrics, const fs::path& folder, std::function<void(const std::string&)> warn)
    : impl_(std::make_unique<Impl>(metrics, folder, std::move(warn))) {
  metrics.listen([impl = impl_.get()](const std::string& stage, const MetricKind& row, const std::string& part,
                                      double value) { impl->take(stage, row, part, value); });
}

ScalarLog::~ScalarLog() {
  impl_->metrics.listen({});
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->changed.notify_one();
  impl_->thread.join();
}

}  // namespace decant::monitoring
