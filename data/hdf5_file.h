// One HDF5 file behind plain C++ types; the only places of the project that include hdf5.h are hdf5_file.cpp and
// hdf5_chunks.cpp.
// Every dataset is chunked and carries a fletcher32 sum, metadata is checksummed (file format V110), object times are
// off, so the same content gives the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "data/chunk_codec.h"

namespace decant::data {

namespace fs = std::filesystem;

/// IEEE binary16 as bits: stored as HDF5's 16-bit float, which h5py reads as float16.
struct Half {
  std::uint16_t bits = 0;
};

/// Types of elements that a column can be written in without the type being known to the compiler.
enum class Element { kU8, kU32, kU64, kI64, kF16, kBf16, kF32 };
[[nodiscard]] std::size_t bytes_of(Element element);
/// "u8", "u32", "u64", "i64", "f16", "bf16", "f32"; throws ConfigError for another name.
[[nodiscard]] const char* name_of(Element element);
[[nodiscard]] Element element_named(const std::string& name);

/// Owns one id of the library (file, dataset, type, ...) and closes it.
class Hdf5Id {
 public:
  using Close = int (*)(std::int64_t);
  Hdf5Id() = default;
  Hdf5Id(std::int64_t id, Close closer) : id_(id), close_(closer) {}
  Hdf5Id(Hdf5Id&& other) noexcept;
  Hdf5Id& operator=(Hdf5Id&& other) noexcept;
  ~Hdf5Id();
  [[nodiscard]] std::int64_t get() const { return id_; }
  /// Closes now; the library's result.
  int close();

 private:
  std::int64_t id_ = -1;
  Close close_ = nullptr;
};

/// Errors are DataError naming the file, the dataset and the library's own innermost reason; nothing is printed.
/// Reading takes no file lock, so read-only media and network file systems do. Calls are serialised by one lock for
/// the whole process (as the library does itself): const members may be called from any thread.
class Hdf5File {
 public:
  /// columns 0: one dimension.
  struct Shape {
    std::int64_t rows = 0, columns = 0;
    bool operator==(const Shape&) const = default;
  };

  [[nodiscard]] static Hdf5File create(const fs::path& path);
  /// `chunk_cache_bytes`: what the library keeps of each dataset's chunks; 0 where whole chunks are read once.
  [[nodiscard]] static Hdf5File open(const fs::path& path, std::size_t chunk_cache_bytes = std::size_t{1} << 20);
  Hdf5File(Hdf5File&&) noexcept;
  Hdf5File& operator=(Hdf5File&&) = delete;
  ~Hdf5File();

  [[nodiscard]] const fs::path& path() const { return path_; }

  /// Missing parents of `name` are made too.
  void make_group(const std::string& name);
  /// `object` is a group, a dataset or "/".
  void set_text(const std::string& object, const std::string& name, const std::string& value);
  void set_number(const std::string& object, const std::string& name, std::uint64_t value);
  [[nodiscard]] std::string text(const std::string& object, const std::string& name) const;
  [[nodiscard]] std::uint64_t number(const std::string& object, const std::string& name) const;

  /// Writes a whole dataset of u8, u32, u64, i64, float or Half, [rows] or [rows, columns], in chunks of `chunk_rows`.
  template <class T>
  void write(const std::string& name, std::span<const T> values, std::int64_t columns, std::int64_t chunk_rows);
  /// Reads whole rows from `first_row` on; their number follows from out.size(). REQUIRES the element type of the file
  /// to be T, a checksum and every chunk written; `blame_row` is the row that an error names.
  template <class T>
  void read(const std::string& name, std::int64_t first_row, std::span<T> out, std::int64_t blame_row = -1) const;
  [[nodiscard]] Shape shape(const std::string& name) const;

  /// How a dataset lies in the file. `whole_rows`: a chunk holds all columns of `chunk_rows` rows, under filters that
  /// chunk_codec.h knows, so that read_chunk serves.
  struct Layout {
    Shape shape;
    std::int64_t chunk_rows = 0;
    ChunkFilters filters;
    bool whole_rows = false;
  };
  [[nodiscard]] Layout layout(const std::string& name) const;
  /// Makes a dataset whose chunks are then written by write_chunk, in any order. No rows: done with it.
  void make_chunked(const std::string& name, Element element, Shape shape, std::int64_t chunk_rows,
                    const ChunkFilters& filters);
  /// `encoded`: a whole chunk (filled up with zeros at the end of the rows) as encode_chunk gives it.
  void write_chunk(const std::string& name, std::int64_t chunk, std::span<const std::byte> encoded);
  /// A chunk as it lies in the file, for decode_chunk.
  struct RawChunk {
    std::vector<std::byte> bytes;
    std::uint32_t skipped = 0;
  };
  [[nodiscard]] RawChunk read_chunk(const std::string& name, std::int64_t chunk, std::int64_t blame_row) const;
  /// As read(), for an element known at run time only; of any chunks.
  void read_bytes(const std::string& name, Element element, std::int64_t first_row, std::span<std::byte> out,
                  std::int64_t blame_row = -1) const;
  /// Throws DataError when the dataset holds another type.
  void check_element(const std::string& name, Element element) const;
  [[nodiscard]] bool has(const std::string& name) const;

  /// Ends writing: errors of the last flush surface here, not in the destructor.
  void close();

 private:
  struct Call;
  struct Column {
    Hdf5Id id;
    Shape shape;
  };
  Hdf5File(fs::path path, Hdf5Id file);
  [[nodiscard]] const Column& column(const std::string& name) const;
  [[nodiscard]] std::int64_t chunk_rows(const Column& column) const;
  void check_type(const std::string& name, const Column& column, std::int64_t expected) const;
  void write_raw(const std::string& name, std::int64_t type, std::int64_t memory_type, const void* values, Shape shape,
                 std::int64_t chunk_rows);
  void read_raw(const std::string& name, std::int64_t type, std::int64_t memory_type, std::int64_t first_row,
                std::int64_t elements, void* out, std::int64_t blame_row) const;

  fs::path path_;
  Hdf5Id file_;
  mutable std::map<std::string, Column> columns_;
};

}  // namespace decant::data
