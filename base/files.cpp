#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <utility>

namespace decant::base {

namespace {

std::string reason(int error) { return std::strerror(error); }

[[noreturn]] void fail(const fs::path& path, const std::string& doing) {
  const int error = errno;  // building the message may change it
  throw FileError(path.string(), doing + ": " + reason(error));
}

/// An open file; closes itself, and reports a failed close when asked (NFS tells of a full disk only then).
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }
  [[nodiscard]] bool close() { return ::close(std::exchange(value_, -1)) == 0; }
  [[nodiscard]] int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

int open_retrying(const fs::path& path, int flags, mode_t mode = 0) {
  int out = -1;
  do out = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  while (out < 0 && errno == EINTR);
  return out;
}

/// At `offset`, or where the file stands when that is below 0.
bool write_all(int descriptor, std::string_view bytes, off_t offset = -1) {
  while (!bytes.empty()) {
    const ssize_t written = offset < 0 ? ::write(descriptor, bytes.data(), bytes.size())
                                       : ::pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno != EINTR) return false;
    if (written > 0 && offset >= 0) offset += written;
    if (written > 0) bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

fs::path parent_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw FileError(folder.string(), "cannot make the folder: " + error.message());
}

/// A name beside `path` that this process has not used; O_EXCL guards against those of other processes and hosts.
fs::path name_beside(const fs::path& path, const char* what) {
  static std::atomic<unsigned> counter{0};
  return parent_of(path) / ("." + path.filename().string() + "." + what + "-" + std::to_string(::getpid()) + "-" +
                            std::to_string(counter++));
}

/// Makes the temporary file and removes it again unless it was renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const fs::path& path) : descriptor_(make(path, path_)) {}
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(const fs::path& target, std::string_view bytes, off_t offset = -1) {
    if (!write_all(descriptor_.get(), bytes, offset))
      fail(target, "cannot write " + std::to_string(bytes.size()) + " bytes");
  }
  void close(const fs::path& target) {
    if (::fsync(descriptor_.get()) != 0) fail(target, "cannot sync");
    if (!descriptor_.close()) fail(target, "cannot close");
  }
  void become(const fs::path& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) fail(target, "cannot rename the finished file");
    path_.clear();
  }

 private:
  static int make(const fs::path& target, fs::path& path) {
    constexpr int kTries = 100;  // a name may be left over from a killed process with the same number
    for (int attempt = 0; attempt < kTries; ++attempt) {
      path = name_beside(target, "tmp");
      const int out = open_retrying(path, O_CREAT | O_EXCL | O_WRONLY, 0666);
      if (out >= 0) return out;
      if (errno != EEXIST) break;
    }
    fail(target, "cannot make a file beside it");
  }

  fs::path path_;  // declared first: make() sets it
  Descriptor descriptor_;
};

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

/// Renames with the old content kept under `from`, so that `to` is never absent. False: this file system cannot.
bool exchange(const fs::path& from, const fs::path& to) {
  return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0;
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) throw FileError(path.string(), "cannot remove the replaced folder: " + error.message());
}

}  // namespace

std::string read_file(const fs::path& path) {
  const Descriptor file(open_retrying(path, O_RDONLY));
  if (file.get() < 0) fail(path, "cannot open");
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail(path, "cannot read");
  std::string out;
  if (S_ISREG(info.st_mode)) out.reserve(static_cast<std::size_t>(info.st_size));
  std::array<char, 1 << 16> block{};
  while (true) {
    const ssize_t got = ::read(file.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, "cannot read");
    if (got == 0) return out;
    out.append(block.data(), static_cast<std::size_t>(got));
  }
}

struct FileWriter::Impl {
  explicit Impl(const fs::path& to) : path(prepared(to)), file(path) {}

  static fs::path prepared(const fs::path& path) {
    // Renaming over a device, a pipe or a folder would destroy it or fail in the end.
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
      throw FileError(path.string(), "cannot be written: it is there and is no regular file");
    make_folder(parent_of(path));
    return path;
  }

  fs::path path;
  TemporaryFile file;
};

FileWriter::FileWriter(const fs::path& path) : impl_(std::make_unique<Impl>(path)) {}
FileWriter::~FileWriter() = default;
void FileWriter::append(std::string_view bytes) { impl_->file.write(impl_->path, bytes); }
void FileWriter::overwrite(std::uint64_t offset, std::string_view bytes) {
  impl_->file.write(impl_->path, bytes, static_cast<off_t>(offset));
}
void FileWriter::commit() {
  impl_->file.close(impl_->path);
  impl_->file.become(impl_->path);
  sync_path(parent_of(impl_->path));
}

void write_file(const fs::path& path, std::string_view bytes) {
  FileWriter file(path);
  file.append(bytes);
  file.commit();
}

void sync_path(const fs::path& path) {
  Descriptor file(open_retrying(path, O_RDONLY));
  if (file.get() < 0) fail(path, "cannot open");
  // Some file systems know no sync of a folder; there is nothing more to be done on them.
  if (::fsync(file.get()) != 0 && errno != EINVAL) fail(path, "cannot sync");
}

void replace_path(const fs::path& from, const fs::path& to) {
  make_folder(parent_of(to));
  struct stat old {};
  struct stat fresh {};
  if (::lstat(from.c_str(), &fresh) != 0) fail(from, "cannot rename it to " + to.string());
  // rename() itself replaces a file by a file.
  const bool in_the_way = ::lstat(to.c_str(), &old) == 0 && (S_ISDIR(old.st_mode) || S_ISDIR(fresh.st_mode));
  if (!in_the_way) {
    if (::rename(from.c_str(), to.c_str()) != 0) fail(to, "cannot rename " + from.string() + " to it");
    return sync_path(parent_of(to));
  }
  if (exchange(from, to)) {
    sync_path(parent_of(to));
    return remove_tree(from);
  }
  const fs::path aside = name_beside(to, "old");
  if (::rename(to.c_str(), aside.c_str()) != 0) fail(to, "cannot move it aside");
  if (::rename(from.c_str(), to.c_str()) != 0) {
    const int error = errno;
    ::rename(aside.c_str(), to.c_str());
    errno = error;
    fail(to, "cannot rename " + from.string() + " to it");
  }
  sync_path(parent_of(to));
  remove_tree(aside);
}

std::uintmax_t free_bytes(const fs::path& path) {
  fs::path at = fs::absolute(path);
  std::error_code error;
  while (!fs::exists(at, error) && at.has_relative_path()) at = at.parent_path();
  const fs::space_info space = fs::space(at, error);
  if (error) throw FileError(at.string(), "cannot ask for its free space: " + error.message());
  return space.available;
}

FolderLock::FolderLock(const fs::path& folder) {
  make_folder(folder);
  const fs::path path = folder / "lock";
  Descriptor file(open_retrying(path, O_CREAT | O_RDWR, 0666));
  if (file.get() < 0) fail(path, "cannot open");
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) fail(path, "cannot lock");
    std::string holder = read_file(path);
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    // Empty: the holder has the lock and has not yet written its name.
    throw ConfigError(folder.string() + " is in use by " + (holder.empty() ? "another process" : holder) +
                      "; wait for it to end, or choose another folder");
  }
  const std::string holder = "process " + std::to_string(::getpid()) + " on host " + host_name() + "\n";
  if (::ftruncate(file.get(), 0) != 0 || !write_all(file.get(), holder)) fail(path, "cannot write");
  descriptor_ = file.release();
}

FolderLock::~FolderLock() {
  // The file stays: removing it would let a third process lock a new one while a second waits on the old.
  [[maybe_unused]] const int emptied = ::ftruncate(descriptor_, 0);  // a stale name in it would do no harm
  ::close(descriptor_);
}

}  // namespace decant::base
