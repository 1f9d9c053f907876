// A file for what does not fit memory: written once, then read from its start as often as needed, gone with its object. Or
// one by which a process hands something to another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace decant::data {

namespace fs = std::filesystem;

/// Throws FileError naming the file, with the system's reason.
class ScratchFile {
 public:
  ScratchFile(fs::path path, std::size_t buffer_bytes);
  /// One that another process has handed over, to read.
  [[nodiscard]] static std::unique_ptr<ScratchFile> take_over(const fs::path& path, std::size_t buffer_bytes);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  void write(std::span<const std::byte> bytes);
  /// Ends writing; the next read is of the first byte. `buffer_bytes`: of the reading; 0: as before.
  void rewind(std::size_t buffer_bytes = 0);
  /// Fills `out`. False when nothing is left; a file that ends within `out` is an error.
  [[nodiscard]] bool read_next(std::span<std::byte> out);
  /// The same where something must be left.
  void read(std::span<std::byte> out);
  /// Ends writing, and frees the buffer until rewind() is called.
  void rest();
  /// Ends writing and lets go of the file, which stays.
  void hand_over();

 private:
  ScratchFile(fs::path path, std::size_t buffer_bytes, int flags, const char* doing);
  void flush();
  void refill();
  [[noreturn]] void cut_short() const;

  fs::path path_;
  int descriptor_ = -1;
  std::size_t capacity_, begin_ = 0, end_ = 0;  // of the buffer: what is still to be written or read
  std::vector<std::byte> buffer_;
  bool writing_ = true;
};

}  // namespace decant::data
