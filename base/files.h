// Files that are whole or absent: written beside, synced, renamed. And the lock that makes one writer a run folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/options.h"

namespace decant::base {

namespace fs = std::filesystem;

/// Throws FileError with the system's reason.
[[nodiscard]] std::string read_file(const fs::path& path);

/// Writes `path` by way of a temporary file beside it, fsync and rename; a reader sees the old bytes or the new.
/// Makes the parent folder. Throws FileError (full disk, no rights) and removes the temporary file.
void write_file(const fs::path& path, std::string_view bytes);

/// The same in pieces: what was appended appears under its name by commit(); without it nothing is left.
class FileWriter {
 public:
  explicit FileWriter(const fs::path& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  void append(std::string_view bytes);
  /// REQUIRES: these places have been appended.
  void overwrite(std::uint64_t offset, std::string_view bytes);
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// fsync of a file or a folder that exists.
void sync_path(const fs::path& path);

/// Renames `from` (a complete, synced file or folder) to `to`, and syncs the parent of `to`. An existing folder `to`
/// is moved aside first and removed afterwards.
void replace_path(const fs::path& from, const fs::path& to);

/// A JSON document that carries the hash of its own content under "checksum". `load_document` throws FileError when
/// the file is absent, damaged, of another `format`, or of a version above `newest_version`.
void save_document(const fs::path& path, std::string_view format, int version, Json content);
[[nodiscard]] Json load_document(const fs::path& path, std::string_view format, int newest_version);

/// Free bytes of the file system that holds `path` (or its nearest existing parent).
[[nodiscard]] std::uintmax_t free_bytes(const fs::path& path);

/// Holds `folder`/lock exclusively (flock) while it lives. Throws ConfigError naming the holder's host and process
/// when another process has it.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace decant::base
