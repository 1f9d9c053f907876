// Columns whose chunks are coded outside of the library's lock (chunk_codec.h), or whose type is known at run time only.
#include <algorithm>
#include <array>

#include "data/hdf5_call.h"

namespace decant::data {
namespace {

struct ElementRow {
  Element element;
  const char* name;
  std::size_t bytes;
};
constexpr std::array kElements{ElementRow{Element::kU8, "u8", 1},   ElementRow{Element::kU32, "u32", 4},
                               ElementRow{Element::kU64, "u64", 8}, ElementRow{Element::kI64, "i64", 8},
                               ElementRow{Element::kF16, "f16", 2}, ElementRow{Element::kBf16, "bf16", 2},
                               ElementRow{Element::kF32, "f32", 4}};

const ElementRow& row_of(Element element) {
  return *std::find_if(kElements.begin(), kElements.end(), [&](const auto& row) { return row.element == element; });
}

/// The library's type in files; in memory it is the same, since everything here is little-endian.
hid_t type_of(Element element) {
  switch (element) {
    case Element::kU8:
      return H5T_STD_U8LE;
    case Element::kU32:
      return H5T_STD_U32LE;
    case Element::kU64:
      return H5T_STD_U64LE;
    case Element::kI64:
      return H5T_STD_I64LE;
    case Element::kF16:
      return half_type();
    case Element::kBf16:
      return brain_type();
    default:
      return H5T_IEEE_F32LE;
  }
}

/// Filters of a creation list; false when there is one that chunk_codec.h does not know.
bool read_filters(hid_t list, ChunkFilters& out) {
  for (int i = 0; i < H5Pget_nfilters(list); ++i) {
    unsigned flags = 0, config = 0;
    std::size_t values = 0;
    switch (H5Pget_filter2(list, static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, &config)) {
      case H5Z_FILTER_SHUFFLE:
        out.push_back(ChunkFilter::kShuffle);
        break;
      case H5Z_FILTER_DEFLATE:
        out.push_back(ChunkFilter::kDeflate);
        break;
      case H5Z_FILTER_FLETCHER32:
        out.push_back(ChunkFilter::kFletcher32);
        break;
      default:
        return false;
    }
  }
  return true;
}

}  // namespace

std::size_t bytes_of(Element element) { return row_of(element).bytes; }
const char* name_of(Element element) { return row_of(element).name; }

Element element_named(const std::string& name) {
  for (const ElementRow& row : kElements)
    if (name == row.name) return row.element;
  throw base::ConfigError("unknown type of elements '" + name + "' (known: u8, u32, u64, i64, f16, bf16, f32)");
}

bool Hdf5File::has(const std::string& name) const {
  const Call call;
  for (std::size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
    if (H5Lexists(file_.get(), name.substr(0, end).c_str(), H5P_DEFAULT) <= 0) return false;
    if (end == std::string::npos) return true;
  }
}

void Hdf5File::check_element(const std::string& name, Element element) const {
  const Call call;
  check_type(name, column(name), type_of(element));
}

Hdf5File::Layout Hdf5File::layout(const std::string& name) const {
  const Call call;
  const Column& from = column(name);
  Layout out{from.shape, 0, {}, false};
  if (from.shape.rows == 0) return out;
  const Hdf5Id list(H5Dget_create_plist(from.id.get()), H5Pclose);
  std::array<hsize_t, 2> chunk{1, 1};
  H5Pget_chunk(list.get(), rank_of(from.shape), chunk.data());
  out.chunk_rows = static_cast<std::int64_t>(chunk[0]);
  out.whole_rows = read_filters(list.get(), out.filters) &&
                   (from.shape.columns == 0 || static_cast<std::int64_t>(chunk[1]) == from.shape.columns);
  return out;
}

void Hdf5File::make_chunked(const std::string& name, Element element, Shape shape, std::int64_t chunk_rows,
                            const ChunkFilters& filters) {
  const Call call;
  const Hdf5Id list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(list.get(), false);
  if (shape.rows > 0) {
    const std::array<hsize_t, 2> chunk{static_cast<hsize_t>(std::clamp<std::int64_t>(chunk_rows, 1, shape.rows)),
                                       static_cast<hsize_t>(shape.columns)};
    H5Pset_chunk(list.get(), rank_of(shape), chunk.data());
    for (const ChunkFilter filter : filters) {
      if (filter == ChunkFilter::kShuffle) H5Pset_shuffle(list.get());
      if (filter == ChunkFilter::kDeflate) H5Pset_deflate(list.get(), kDeflateLevel);
      if (filter == ChunkFilter::kFletcher32) H5Pset_fletcher32(list.get());
    }
  }
  const std::array<hsize_t, 2> sizes{static_cast<hsize_t>(shape.rows), static_cast<hsize_t>(shape.columns)};
  const Hdf5Id space(H5Screate_simple(rank_of(shape), sizes.data(), nullptr), H5Sclose);
  Column made{
      Hdf5Id(H5Dcreate2(file_.get(), name.c_str(), type_of(element), space.get(), H5P_DEFAULT, list.get(), H5P_DEFAULT),
             H5Dclose),
      shape};
  check_h5(made.id.get(), path_, name, -1, "cannot be made");
  columns_.insert_or_assign(name, std::move(made));
}

std::int64_t Hdf5File::chunk_rows(const Column& column) const {
  const Hdf5Id list(H5Dget_create_plist(column.id.get()), H5Pclose);
  std::array<hsize_t, 2> chunk{1, 1};
  H5Pget_chunk(list.get(), rank_of(column.shape), chunk.data());
  return static_cast<std::int64_t>(chunk[0]);
}

void Hdf5File::write_chunk(const std::string& name, std::int64_t chunk, std::span<const std::byte> encoded) {
  const Call call;
  const Column& to = columns_.at(name);
  const std::array<hsize_t, 2> at{static_cast<hsize_t>(chunk * chunk_rows(to)), 0};
  check_h5(H5Dwrite_chunk(to.id.get(), H5P_DEFAULT, 0, at.data(), encoded.size(), encoded.data()), path_, name, -1,
           "cannot be written; is the disk full?");
}

Hdf5File::RawChunk Hdf5File::read_chunk(const std::string& name, std::int64_t chunk, std::int64_t blame_row) const {
  const Call call;
  const Column& from = column(name);
  const std::array<hsize_t, 2> at{static_cast<hsize_t>(chunk * chunk_rows(from)), 0};
  hsize_t size = 0;
  check_h5(H5Dget_chunk_storage_size(from.id.get(), at.data(), &size), path_, name, blame_row, "cannot be read");
  std::error_code error;
  if (size > fs::file_size(path_, error) || error)
    throw DataError(path_.string(), name, blame_row, "a chunk is larger than the file: damaged");
  RawChunk out;
  out.bytes.resize(size);
  check_h5(H5Dread_chunk(from.id.get(), H5P_DEFAULT, at.data(), &out.skipped, out.bytes.data()), path_, name, blame_row,
           "cannot be read");
  return out;
}

void Hdf5File::read_bytes(const std::string& name, Element element, std::int64_t first_row, std::span<std::byte> out,
                          std::int64_t blame_row) const {
  const Call call;
  read_raw(name, type_of(element), type_of(element), first_row,
           static_cast<std::int64_t>(out.size() / bytes_of(element)), out.data(), blame_row);
}

}  // namespace decant::data
