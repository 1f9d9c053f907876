#include "data/scratch_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/errors.h"

namespace decant::data {

namespace {

[[noreturn]] void fail(const fs::path& path, const char* doing) {
  throw base::FileError(path.string(), std::string("cannot ") + doing + ": " + std::strerror(errno));
}

}  // namespace

ScratchFile::ScratchFile(fs::path path, std::size_t buffer_bytes)
    : ScratchFile(std::move(path), buffer_bytes, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, "make the file") {}

ScratchFile::ScratchFile(fs::path path, std::size_t buffer_bytes, int flags, const char* doing)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), flags, 0600)), capacity_(buffer_bytes) {
  if (descriptor_ < 0) fail(path_, doing);
  buffer_.resize(capacity_);
}

std::unique_ptr<ScratchFile> ScratchFile::take_over(const fs::path& path, std::size_t buffer_bytes) {
  std::unique_ptr<ScratchFile> out(new ScratchFile(path, buffer_bytes, O_RDONLY | O_CLOEXEC, "open"));
  out->writing_ = false;
  return out;
}

void ScratchFile::hand_over() {
  rest();
  // A network file system may tell of a full disk only now.
  if (::close(std::exchange(descriptor_, -1)) != 0) fail(path_, "write");
}

ScratchFile::~ScratchFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(path_.c_str());
}

void ScratchFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (end_ == capacity_) flush();
    const std::size_t taken = std::min(bytes.size(), capacity_ - end_);
    std::memcpy(buffer_.data() + end_, bytes.data(), taken);
    end_ += taken;
    bytes = bytes.subspan(taken);
  }
}

void ScratchFile::flush() {
  while (begin_ < end_) {
    const ssize_t written = ::write(descriptor_, buffer_.data() + begin_, end_ - begin_);
    if (written < 0 && errno != EINTR) fail(path_, "write");
    if (written > 0) begin_ += static_cast<std::size_t>(written);
  }
  begin_ = end_ = 0;
}

void ScratchFile::rewind(std::size_t buffer_bytes) {
  rest();
  if (buffer_bytes > 0) capacity_ = buffer_bytes;
  buffer_.resize(capacity_);
  if (::lseek(descriptor_, 0, SEEK_SET) < 0) fail(path_, "read");
}

void ScratchFile::rest() {
  if (writing_) flush();
  writing_ = false;
  begin_ = end_ = 0;
  buffer_ = {};
}

void ScratchFile::refill() {
  ssize_t got = 0;
  do got = ::read(descriptor_, buffer_.data(), buffer_.size());
  while (got < 0 && errno == EINTR);
  if (got < 0) fail(path_, "read");
  begin_ = 0;
  end_ = static_cast<std::size_t>(got);
}

void ScratchFile::cut_short() const {
  throw base::FileError(path_.string(), "ends too early: another program has changed it");
}

void ScratchFile::read(std::span<std::byte> out) {
  if (!out.empty() && !read_next(out)) cut_short();
}

bool ScratchFile::read_next(std::span<std::byte> out) {
  const std::size_t wanted = out.size();
  while (!out.empty()) {
    if (begin_ == end_) refill();
    if (begin_ == end_ && out.size() == wanted) return false;
    if (begin_ == end_) cut_short();
    const std::size_t taken = std::min(out.size(), end_ - begin_);
    std::memcpy(out.data(), buffer_.data() + begin_, taken);
    begin_ += taken;
    out = out.subspan(taken);
  }
  return true;
}

}  // namespace decant::data
