// What the fuzz targets share. A target gets bytes; whatever they are, it must end in a result or an error of decant's.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/errors.h"
#include "data/event_blocks.h"
#include "data/event_log.h"
#include "data/event_values.h"
#include "data/import.h"
#include "data/import_formats.h"
#include "data/line_reader.h"

namespace decant::fuzz {

/// Takes choices and then text from the input.
class Input {
 public:
  Input(const std::uint8_t* bytes, std::size_t size) : text_(reinterpret_cast<const char*>(bytes), size) {}
  /// A number below `choices`, from the input's next byte; 0 at its end.
  std::size_t choose(std::size_t choices) {
    if (text_.empty()) return 0;
    const auto byte = static_cast<unsigned char>(text_.front());
    text_.remove_prefix(1);
    return byte % choices;
  }
  [[nodiscard]] std::string_view rest() const { return text_; }

 private:
  std::string_view text_;
};

/// Bytes as a file, in memory, one at a time.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) {
    static const int file = ::memfd_create("fuzz", 0);
    if (file < 0 || ::ftruncate(file, 0) != 0) std::abort();
    if (::pwrite(file, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) std::abort();
    path_ = "/proc/self/fd/" + std::to_string(file);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Errors of decant's are answers; anything else ends the process.
inline void answered(const std::function<void()>& action) {
  try {
    action();
  } catch (const base::Error& error) {
    if (std::string_view(error.what()).empty()) std::abort();
  }
}

/// Small, so that lines cross the ends of buffers.
inline constexpr std::size_t kBufferBytes = 64;

inline void require(bool holds) {
  if (!holds) std::abort();
}

/// Reads the bytes as an import would, up to where events lie in the log, and checks its counts.
inline void read_log(data::ImportOptions& options, std::string_view bytes, data::ReadFormat read) {
  const MemoryFile file(bytes);
  options.files = {file.path()};
  answered([&] {
    const bool interactions = options.format == "interactions";
    const bool times = interactions && !options.interactions.time.empty();
    data::DatasetFolder folder("fuzz-dataset");  // made only when memory does not do
    data::EventLog log(times, false,
                       interactions ? data::event_columns(options.interactions) : std::vector<data::LogColumn>(),
                       std::size_t{1} << 30, folder);
    data::ImportSummary summary;
    summary.interactions.emplace();
    const std::filesystem::path path = file.path();
    data::LineReader lines(path, kBufferBytes);
    read({lines, path, options, options.on_error == "skip", [] {}}, log, summary);
    std::int64_t events = 0;
    data::EventBlocks blocks = log.take([](data::UserEvents&) {});
    blocks.visit([&](const data::UserEvents& block) {
      events += static_cast<std::int64_t>(block.items.size());
      require(block.times.empty() == (!times || block.items.empty()));
      for (const auto item : block.items) require(item < log.items().size());
    });
    require(events == summary.events_read);
  });
}

}  // namespace decant::fuzz
