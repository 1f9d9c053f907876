// A text file line by line, through a buffer of our own; lines of any length.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace decant::data {

namespace fs = std::filesystem;

/// Throws FileError with the system's reason when the file cannot be opened or read.
class LineReader {
 public:
  explicit LineReader(const fs::path& path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// False at the end. `line` is without its end (LF or CRLF) and valid until the next call; a byte order mark at the
  /// start of the file is left out.
  [[nodiscard]] bool next(std::string_view& line);
  /// Number of the line that next() gave last, from 1.
  [[nodiscard]] std::int64_t line_number() const { return line_number_; }
  [[nodiscard]] std::int64_t bytes_read() const { return bytes_read_; }
  /// Hash of the bytes read so far: of the whole file after the last line.
  [[nodiscard]] std::string hash() const { return hasher_.hex(); }

 private:
  [[nodiscard]] bool refill();

  fs::path path_;
  int descriptor_ = -1;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // unread bytes of the buffer
  bool at_end_ = false;
  std::int64_t line_number_ = 0, bytes_read_ = 0;
  base::Hasher hasher_;
};

}  // namespace decant::data
