// A text file line by line, plain or compressed, through a buffer of our own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_source.h"

namespace decant::data {

namespace fs = std::filesystem;

/// Throws FileError with the system's reason when the file cannot be opened or read, DataError when compressed bytes are
/// damaged, a line has over 256 MiB, or the file begins with the byte order mark of UTF-16.
class LineReader {
 public:
  /// `buffer_bytes`: of text at first, and of the file.
  explicit LineReader(const fs::path& path, std::size_t buffer_bytes = std::size_t{1} << 20);

  /// False at the end. `line` is without its end (LF or CRLF) and valid until the next call; a byte order mark at the
  /// start of the file is left out.
  [[nodiscard]] bool next(std::string_view& line);
  /// The first bytes of the file (fewer when it is shorter), decompressed. REQUIRES: nothing has been read.
  [[nodiscard]] std::string_view peek(std::size_t bytes);
  /// Reads on without giving lines until so many bytes of the file on disk are read, or it ends.
  void skip_to(std::int64_t bytes);
  [[nodiscard]] bool compressed() const { return source_.compressed(); }
  /// Number of the line that next() gave last, from 1.
  [[nodiscard]] std::int64_t line_number() const { return line_number_; }
  /// Of the file as it lies on disk.
  [[nodiscard]] std::int64_t bytes_read() const { return source_.bytes_read(); }
  /// Hash of those bytes: of the whole file after the last line.
  [[nodiscard]] std::string hash() const { return source_.hash(); }

 private:
  [[nodiscard]] bool refill();

  fs::path path_;
  ByteSource source_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // unread bytes of the buffer
  bool at_end_ = false;
  std::int64_t line_number_ = 0;
};

}  // namespace decant::data
