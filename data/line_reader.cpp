#include "data/line_reader.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "data/errors.h"

namespace decant::data {

namespace {

constexpr std::size_t kMaxLineBytes = std::size_t{1} << 28, kMostRawBytes = std::size_t{1} << 18;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

LineReader::LineReader(const fs::path& path, std::size_t buffer_bytes)
    : path_(path), source_(path, std::min(buffer_bytes, kMostRawBytes)), buffer_(buffer_bytes) {}

bool LineReader::refill() {
  if (at_end_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) {  // a line longer than the buffer
    if (buffer_.size() >= kMaxLineBytes)
      throw DataError(path_.string(), "", line_number_ + 1, "the line has over 256 MiB: is this a text file?");
    buffer_.resize(2 * buffer_.size());
  }
  const std::size_t got = source_.read(std::span(buffer_).subspan(end_));
  end_ += got;
  given_ += static_cast<std::int64_t>(got);
  at_end_ = got == 0;
  return !at_end_;
}

std::string_view LineReader::peek(std::size_t bytes) {
  while (end_ - begin_ < bytes && refill()) {
  }
  return std::string_view(buffer_.data() + begin_, end_ - begin_).substr(0, bytes);
}

void LineReader::skip_to(std::int64_t bytes) {
  while (source_.bytes_read() < bytes && !at_end_) {
    begin_ = end_;
    (void)refill();
  }
}

void LineReader::visit(std::int64_t from, std::int64_t until) {
  until_ = until;
  given_ = std::max<std::int64_t>(from - 1, 0);  // the byte before tells whether a line starts at `from`
  source_.seek(given_);
  begin_ = end_ = 0;
  at_end_ = false;
  while (from > 0) {
    const char* start = buffer_.data() + begin_;
    if (const void* found = std::memchr(start, '\n', end_ - begin_); found != nullptr) {
      begin_ += static_cast<std::size_t>(static_cast<const char*>(found) - start) + 1;
      return;
    }
    begin_ = end_;
    if (!refill()) return;
  }
}

void LineReader::begin_share() {
  share_start_ = position();
  until_ = share_.end;
  if (share_.begin > 0) line_number_ = share_.lines_before;
}

void LineReader::enter_share() {
  if (share_.begin > 0) visit(share_.begin, share_.end);
  begin_share();
}

bool LineReader::next_of_record(std::string_view& line) {
  const bool first = position() == 0;
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
  ++line_number_;
  if (first) {
    if (line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
    if (line.starts_with("\xff\xfe") || line.starts_with("\xfe\xff"))
      throw DataError(path_.string(), "the text is UTF-16, and UTF-8 is read: iconv -f UTF-16 -t UTF-8 converts it");
  }
  if (line.ends_with('\r')) line.remove_suffix(1);
  return true;
}

}  // namespace decant::data
