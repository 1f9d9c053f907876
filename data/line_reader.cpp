#include "data/line_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include "base/errors.h"

namespace decant::data {

namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

LineReader::LineReader(const fs::path& path) : path_(path), buffer_(kBufferBytes) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw base::FileError(path.string(), std::string("cannot open: ") + std::strerror(errno));
}

LineReader::~LineReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool LineReader::refill() {
  if (at_end_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());  // a line longer than the buffer
  ssize_t got = 0;
  do got = ::read(descriptor_, buffer_.data() + end_, buffer_.size() - end_);
  while (got < 0 && errno == EINTR);
  if (got < 0) throw base::FileError(path_.string(), std::string("cannot read: ") + std::strerror(errno));
  hasher_.add(std::as_bytes(std::span(buffer_).subspan(end_, static_cast<std::size_t>(got))));
  end_ += static_cast<std::size_t>(got);
  bytes_read_ += got;
  at_end_ = got == 0;
  return !at_end_;
}

bool LineReader::next(std::string_view& line) {
  std::size_t searched = 0;  // bytes from begin_ on that are known to hold no line end
  const char* found = nullptr;
  while (true) {
    const char* from = buffer_.data() + begin_ + searched;
    found = static_cast<const char*>(std::memchr(from, '\n', end_ - begin_ - searched));
    if (found != nullptr) break;
    searched = end_ - begin_;
    if (!refill()) break;
  }
  if (found == nullptr && begin_ == end_) return false;
  const char* start = buffer_.data() + begin_;
  line = {start, found != nullptr ? static_cast<std::size_t>(found - start) : end_ - begin_};
  begin_ += line.size() + (found != nullptr ? 1 : 0);
  if (++line_number_ == 1 && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  if (line.ends_with('\r')) line.remove_suffix(1);
  return true;
}

}  // namespace decant::data
