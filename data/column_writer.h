// Columns of an HDF5 file written piece by piece, a chunk of each in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/hdf5_file.h"

namespace decant::data {

/// Elements of a chunk: 256 KiB of u32, large enough for a disk, small enough for a block of a few rows.
inline constexpr std::int64_t kColumnChunk = std::int64_t{1} << 16;

/// A dataset of one dimension whose number of elements is known before.
class ColumnWriter {
 public:
  /// `file` must outlive it.
  ColumnWriter(Hdf5File& file, std::string name, Element element, std::int64_t elements);
  /// Appends whole elements as they lie in memory.
  void add(std::span<const std::byte> values);
  /// REQUIRES: all elements have been added.
  void finish();

 private:
  void write_chunk();

  Hdf5File& file_;
  std::string name_;
  std::size_t element_bytes_, chunk_bytes_, bytes_left_;
  std::int64_t chunk_ = 0;
  std::vector<std::byte> buffer_;
};

/// A ragged column, `<group>/values` and `<group>/offsets` [rows + 1].
class RaggedWriter {
 public:
  RaggedWriter(Hdf5File& file, const std::string& group, Element element, std::int64_t rows, std::int64_t values);
  /// The values of the next row.
  void add(std::span<const std::byte> values);
  void finish();

 private:
  ColumnWriter values_, offsets_;
  std::size_t element_bytes_;
  std::uint64_t offset_ = 0;
};

}  // namespace decant::data
