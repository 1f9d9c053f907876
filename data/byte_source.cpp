#include "data/byte_source.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "base/errors.h"
#include "data/errors.h"

namespace decant::data {

namespace {

constexpr std::string_view kGzip = "\x1f\x8b", kZstd = "\x28\xb5\x2f\xfd";

class Gzip final : public ByteSource::Decoder {
 public:
  Gzip() {
    constexpr int kGzipOnly = 15 + 16;
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~Gzip() override { inflateEnd(&stream_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  std::size_t decode(std::span<const char>& in, std::span<char> out) override {
    if (between_) inflateReset(&stream_);
    between_ = false;
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int result = inflate(&stream_, Z_NO_FLUSH);
    in = in.last(stream_.avail_in);
    if (result == Z_STREAM_END)
      between_ = true;  // another member may follow
    else if (result != Z_OK && result != Z_BUF_ERROR)
      throw std::runtime_error(stream_.msg != nullptr ? stream_.msg : "unknown error");
    return out.size() - stream_.avail_out;
  }
  [[nodiscard]] bool between_frames() const override { return between_; }

 private:
  z_stream stream_{};
  bool between_ = true;
};

class Zstd final : public ByteSource::Decoder {
 public:
  Zstd() : stream_(ZSTD_createDStream()) {
    if (stream_ == nullptr) throw std::bad_alloc();
  }
  ~Zstd() override { ZSTD_freeDStream(stream_); }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;

  std::size_t decode(std::span<const char>& in, std::span<char> out) override {
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    const std::size_t result = ZSTD_decompressStream(stream_, &to, &from);
    if (ZSTD_isError(result) != 0) throw std::runtime_error(ZSTD_getErrorName(result));
    between_ = result == 0;
    in = in.subspan(from.pos);
    return to.pos;
  }
  [[nodiscard]] bool between_frames() const override { return between_; }

 private:
  ZSTD_DStream* stream_;
  bool between_ = true;
};

}  // namespace

ByteSource::ByteSource(const fs::path& path, std::size_t buffer_bytes) : path_(path), raw_(buffer_bytes) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw base::FileError(path.string(), std::string("cannot open: ") + std::strerror(errno));
  try {
    (void)refill();
    const std::string_view start(unread_.data(), unread_.size());
    if (start.starts_with(kGzip)) decoder_ = std::make_unique<Gzip>();
    if (start.starts_with(kZstd)) decoder_ = std::make_unique<Zstd>();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

ByteSource::~ByteSource() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool ByteSource::refill() {
  if (at_end_) return false;
  ssize_t got = 0;
  do got = ::read(descriptor_, raw_.data(), raw_.size());
  while (got < 0 && errno == EINTR);
  if (got < 0) throw base::FileError(path_.string(), std::string("cannot read: ") + std::strerror(errno));
  unread_ = std::span<const char>(raw_).first(static_cast<std::size_t>(got));
  hasher_.add(std::as_bytes(unread_));
  bytes_read_ += got;
  at_end_ = got == 0;
  return !at_end_;
}

void ByteSource::seek(std::int64_t offset) {
  if (::lseek(descriptor_, offset, SEEK_SET) < 0)
    throw base::FileError(path_.string(), std::string("cannot read: ") + std::strerror(errno));
  unread_ = {};
  at_end_ = false;
}

std::size_t ByteSource::read(std::span<char> out) {
  if (decoder_ == nullptr) {
    if (unread_.empty() && !refill()) return 0;
    const std::size_t count = std::min(out.size(), unread_.size());
    std::copy_n(unread_.begin(), count, out.begin());
    unread_ = unread_.subspan(count);
    return count;
  }
  try {
    while (true) {
      const bool ended = unread_.empty() && !refill();
      if (ended && decoder_->between_frames()) return 0;
      const std::size_t count = decoder_->decode(unread_, out);
      if (count > 0) return count;
      if (ended) throw std::runtime_error("the file ends in the middle");
    }
  } catch (const std::runtime_error& error) {
    throw DataError(path_.string(), std::string("the compressed data cannot be read: ") + error.what());
  }
}

}  // namespace decant::data
