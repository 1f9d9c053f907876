// The bytes of a file, decompressed on the way when they are gzip or zstd (told by their first bytes, not by the name).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/hash.h"

namespace decant::data {

namespace fs = std::filesystem;

/// Throws FileError with the system's reason when the file cannot be opened or read, DataError when compressed bytes are
/// damaged or end too early.
class ByteSource {
 public:
  /// `buffer_bytes`: how much of the file is read at once.
  explicit ByteSource(const fs::path& path, std::size_t buffer_bytes = std::size_t{1} << 18);
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  /// Fills up to `out.size()` > 0 bytes; 0 only at the end.
  [[nodiscard]] std::size_t read(std::span<char> out);
  /// The next read() begins at this byte of the file. REQUIRES: not compressed. hash() says nothing of the file then.
  void seek(std::int64_t offset);
  [[nodiscard]] bool compressed() const { return decoder_ != nullptr; }
  /// Of the file as it lies on disk.
  [[nodiscard]] std::int64_t bytes_read() const { return bytes_read_; }
  /// Hash of the file's bytes so far, compressed or not: of the whole file once read() has given 0.
  [[nodiscard]] std::string hash() const { return hasher_.hex(); }

  /// Turns raw bytes into plain ones.
  class Decoder {
   public:
    virtual ~Decoder() = default;
    /// Takes from the front of `in`, writes to the front of `out`, returns bytes written. REQUIRES: `in` is not empty
    /// unless something is still to be written. Throws std::runtime_error.
    virtual std::size_t decode(std::span<const char>& in, std::span<char> out) = 0;
    /// False inside of a frame: more must come.
    [[nodiscard]] virtual bool between_frames() const = 0;
  };

 private:
  bool refill();

  fs::path path_;
  int descriptor_ = -1;
  std::vector<char> raw_;
  std::span<const char> unread_;
  bool at_end_ = false;
  std::int64_t bytes_read_ = 0;
  base::Hasher hasher_;
  std::unique_ptr<Decoder> decoder_;  // null: the bytes are plain
};

}  // namespace decant::data
