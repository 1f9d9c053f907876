// A text file line by line, plain or compressed, through a buffer of our own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_source.h"
#include "data/file_share.h"

namespace decant::data {

namespace fs = std::filesystem;

/// Throws FileError with the system's reason when the file cannot be opened or read, DataError when compressed bytes are
/// damaged, a line has over 256 MiB, or the file begins with the byte order mark of UTF-16.
class LineReader {
 public:
  /// `buffer_bytes`: of text at first, and of the file.
  explicit LineReader(const fs::path& path, std::size_t buffer_bytes = std::size_t{1} << 20);
  /// For a share of a file: it begins at the file's first line all the same, until enter_share() is called.
  LineReader(const fs::path& path, const FileShare& share) : LineReader(path) { share_ = share; }

  /// False at the end of the file or share. `line` is without its end (LF or CRLF) and valid until the next call; a byte order mark at the
  /// start of the file is left out.
  [[nodiscard]] bool next(std::string_view& line) { return position() < until_ && next_of_record(line); }
  /// The same for a line that belongs to the record before: it may start behind the share.
  [[nodiscard]] bool next_of_record(std::string_view& line);
  /// The first bytes of the file (fewer when it is shorter), decompressed. REQUIRES: nothing has been read.
  [[nodiscard]] std::string_view peek(std::size_t bytes);
  [[nodiscard]] const FileShare& share() const { return share_; }
  /// Goes to the share's first line. Whoever reads lines calls it when he has what he needs of the file's start.
  void enter_share();
  /// The same in two steps, for records of several lines: visit() goes to the first line that starts at `from` or later, and
  /// next() gives those that start before `until`; what comes then is the share's first record.
  void visit(std::int64_t from, std::int64_t until);
  void begin_share();
  /// Where the share's first record starts; -1 before begin_share().
  [[nodiscard]] std::int64_t share_start() const { return share_start_; }
  /// Where the next line starts.
  [[nodiscard]] std::int64_t position() const { return given_ - static_cast<std::int64_t>(end_ - begin_); }
  /// Reads on without giving lines until so many bytes of the file on disk are read, or it ends.
  void skip_to(std::int64_t bytes);
  /// Everything is read from the file.
  [[nodiscard]] bool at_end() const { return at_end_; }
  [[nodiscard]] bool compressed() const { return source_.compressed(); }
  /// Number of the line that next() gave last, from 1; within a share that begins later, from its `lines_before` on.
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
  std::int64_t given_ = 0;  // bytes of text up to end_
  FileShare share_;
  std::int64_t share_start_ = -1, until_ = FileShare::kToTheEnd;
  std::int64_t line_number_ = 0;
};

}  // namespace decant::data
