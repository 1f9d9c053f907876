#include "data/column_writer.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "data/chunk_codec.h"

namespace decant::data {

namespace {

const ChunkFilters kFilters{ChunkFilter::kFletcher32};

}  // namespace

ColumnWriter::ColumnWriter(Hdf5File& file, std::string name, Element element, std::int64_t elements)
    : file_(file),
      name_(std::move(name)),
      element_bytes_(bytes_of(element)),
      chunk_bytes_(element_bytes_ * static_cast<std::size_t>(std::clamp<std::int64_t>(elements, 1, kColumnChunk))),
      bytes_left_(element_bytes_ * static_cast<std::size_t>(elements)) {
  file_.make_chunked(name_, element, {elements, 0}, kColumnChunk, kFilters);
  buffer_.reserve(chunk_bytes_);
}

void ColumnWriter::add(std::span<const std::byte> values) {
  if (values.size() > bytes_left_) throw std::logic_error(name_ + " is given more values than it was made for");
  bytes_left_ -= values.size();
  while (!values.empty()) {
    const std::size_t taken = std::min(values.size(), chunk_bytes_ - buffer_.size());
    buffer_.insert(buffer_.end(), values.begin(), values.begin() + static_cast<std::ptrdiff_t>(taken));
    values = values.subspan(taken);
    if (buffer_.size() == chunk_bytes_) write_chunk();
  }
}

void ColumnWriter::finish() {
  if (bytes_left_ > 0) throw std::logic_error(name_ + " is given fewer values than it was made for");
  if (!buffer_.empty()) write_chunk();
}

void ColumnWriter::write_chunk() {
  buffer_.resize(chunk_bytes_);  // the last one is filled up with zeros
  file_.write_chunk(name_, chunk_++, encode_chunk(buffer_, element_bytes_, kFilters));
  buffer_.clear();
}

RaggedWriter::RaggedWriter(Hdf5File& file, const std::string& group, Element element, std::int64_t rows,
                           std::int64_t values)
    : values_(file, group + "/values", element, values),
      offsets_(file, group + "/offsets", Element::kU64, rows + 1),
      element_bytes_(bytes_of(element)) {
  offsets_.add(std::as_bytes(std::span(&offset_, 1)));
}

void RaggedWriter::add(std::span<const std::byte> values) {
  values_.add(values);
  offset_ += values.size() / element_bytes_;
  offsets_.add(std::as_bytes(std::span(&offset_, 1)));
}

void RaggedWriter::finish() {
  values_.finish();
  offsets_.finish();
}

}  // namespace decant::data
