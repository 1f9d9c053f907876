#include "data/hdf5_file.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "data/errors.h"
#include "data/hdf5_call.h"

namespace decant::data {

static_assert(sizeof(hid_t) == sizeof(std::int64_t));

Hdf5Id::Hdf5Id(Hdf5Id&& other) noexcept
    : id_(std::exchange(other.id_, -1)), close_(std::exchange(other.close_, nullptr)) {}

Hdf5Id& Hdf5Id::operator=(Hdf5Id&& other) noexcept {
  if (this != &other) {
    close();
    id_ = std::exchange(other.id_, -1);
    close_ = std::exchange(other.close_, nullptr);
  }
  return *this;
}

Hdf5Id::~Hdf5Id() { close(); }

int Hdf5Id::close() {
  if (id_ < 0 || close_ == nullptr) return 0;
  return close_(std::exchange(id_, -1));
}

namespace {

/// "file write failed: No space left on device" of a reason that tells of names, descriptors, addresses and sizes too.
std::string without_particulars(const std::string& reason) {
  constexpr std::string_view kMessage = "error message = '";
  const std::size_t start = std::min(reason.find(": time = "), reason.find(": name = ")), from = reason.find(kMessage);
  if (start == std::string::npos || from == std::string::npos) return reason;
  const std::size_t first = from + kMessage.size();
  return reason.substr(0, start) + ": " + reason.substr(first, reason.find('\'', first) - first);
}

}  // namespace

std::string library_reason() {
  std::string reason;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
        auto& text = *static_cast<std::string*>(out);
        if (text.empty() && error->desc != nullptr) text = error->desc;
        return 0;
      },
      &reason);
  return reason.empty() ? "no reason given" : without_particulars(reason);
}

namespace {

hid_t float16_type(std::size_t exponent_bits, std::size_t mantissa_bits, std::size_t bias) {
  const hid_t made = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(made, 15, mantissa_bits, exponent_bits, 0, mantissa_bits);
  H5Tset_size(made, 2);
  H5Tset_ebias(made, bias);
  return made;
}

}  // namespace

hid_t half_type() {
  static const hid_t type = float16_type(5, 10, 15);
  return type;
}

hid_t brain_type() {
  static const hid_t type = float16_type(8, 7, 127);
  return type;
}

namespace {

struct Types {
  hid_t file, memory;
};
template <class T>
Types types_of();
template <>
Types types_of<std::uint8_t>() {
  return {H5T_STD_U8LE, H5T_NATIVE_UINT8};
}
template <>
Types types_of<std::uint32_t>() {
  return {H5T_STD_U32LE, H5T_NATIVE_UINT32};
}
template <>
Types types_of<std::uint64_t>() {
  return {H5T_STD_U64LE, H5T_NATIVE_UINT64};
}
template <>
Types types_of<std::int64_t>() {
  return {H5T_STD_I64LE, H5T_NATIVE_INT64};
}
template <>
Types types_of<float>() {
  return {H5T_IEEE_F32LE, H5T_NATIVE_FLOAT};
}
template <>
Types types_of<Half>() {
  return {half_type(), half_type()};  // bits are copied, never converted
}

std::string type_text(hid_t type) {
  const std::string bits = std::to_string(8 * H5Tget_size(type));
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return (H5Tget_sign(type) == H5T_SGN_NONE ? "unsigned " : "signed ") + bits + "-bit integers";
    case H5T_FLOAT:
      return bits + "-bit floats";
    default:
      return "another type";
  }
}

Hdf5Id text_type(std::size_t bytes) {
  Hdf5Id type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), std::max<std::size_t>(1, bytes));
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

/// How a dataset is laid out: chunks with a sum each. An empty one has no chunk to sum.
Hdf5Id creation_list(Hdf5File::Shape shape, std::int64_t chunk_rows) {
  Hdf5Id list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(list.get(), false);
  if (shape.rows > 0) {
    const std::array<hsize_t, 2> chunk{static_cast<hsize_t>(std::clamp<std::int64_t>(chunk_rows, 1, shape.rows)),
                                       static_cast<hsize_t>(shape.columns)};
    H5Pset_chunk(list.get(), rank_of(shape), chunk.data());
    H5Pset_fletcher32(list.get());
  }
  return list;
}

/// Refuses what could be read without being verified: no checksum, or chunks that nobody wrote (read as zeros).
void check_verifiable(const fs::path& path, const std::string& name, hid_t dataset, Hdf5File::Shape shape) {
  const Hdf5Id list(H5Dget_create_plist(dataset), H5Pclose);
  unsigned flags = 0, config = 0;
  std::size_t values = 0;
  if (H5Pget_layout(list.get()) != H5D_CHUNKED ||
      H5Pget_filter_by_id2(list.get(), H5Z_FILTER_FLETCHER32, &flags, &values, nullptr, 0, nullptr, &config) < 0)
    throw DataError(path.string(), name, -1, "has no checksum; write it chunked with fletcher32");
  std::array<hsize_t, 2> chunk{1, 1};
  H5Pget_chunk(list.get(), rank_of(shape), chunk.data());
  const auto pieces = [](std::int64_t size, hsize_t piece) { return (static_cast<hsize_t>(size) + piece - 1) / piece; };
  const hsize_t expected = pieces(shape.rows, chunk[0]) * (shape.columns == 0 ? 1 : pieces(shape.columns, chunk[1]));
  hsize_t written = 0;
  const Hdf5Id space(H5Dget_space(dataset), H5Sclose);
  check_h5(H5Dget_num_chunks(dataset, space.get(), &written), path, name, -1, "its chunks cannot be listed");
  if (written != expected)
    throw DataError(path.string(), name, -1,
                    "holds " + std::to_string(written) + " of " + std::to_string(expected) + " chunks");
}

}  // namespace

Hdf5File::Hdf5File(fs::path path, Hdf5Id file) : path_(std::move(path)), file_(std::move(file)) {}

Hdf5File::Hdf5File(Hdf5File&& other) noexcept
    : path_(std::move(other.path_)), file_(std::move(other.file_)), columns_(std::move(other.columns_)) {}

Hdf5File::~Hdf5File() {
  const Call call;
  columns_.clear();
  file_.close();
}

Hdf5File Hdf5File::create(const fs::path& path) {
  const Call call;
  const Hdf5Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
  H5Pset_file_locking(access.get(), false, true);
  const Hdf5Id creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation.get(), false);
  Hdf5Id file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose);
  check_h5(file.get(), path, "", -1, "cannot be made");
  return {path, std::move(file)};
}

Hdf5File Hdf5File::open(const fs::path& path, std::size_t chunk_cache_bytes) {
  const Call call;
  std::error_code missing;
  if (!fs::exists(path, missing)) throw DataError(path.string(), "the file is missing");
  const Hdf5Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access.get(), false, true);
  H5Pset_cache(access.get(), 0, chunk_cache_bytes == 0 ? 1 : 521, chunk_cache_bytes, 0.75);
  Hdf5Id file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  check_h5(file.get(), path, "", -1, "cannot be opened: cut short, damaged or no HDF5 file");
  return {path, std::move(file)};
}

void Hdf5File::make_group(const std::string& name) {
  const Call call;
  // Level by level: the library's own making of parents gives them a time of creation.
  for (std::size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
    const std::string level = name.substr(0, end);
    if (H5Lexists(file_.get(), level.c_str(), H5P_DEFAULT) <= 0) {
      const Hdf5Id creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
      H5Pset_obj_track_times(creation.get(), false);
      const Hdf5Id group(H5Gcreate2(file_.get(), level.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT), H5Gclose);
      check_h5(group.get(), path_, level, -1, "the group cannot be made");
    }
    if (end == std::string::npos) return;
  }
}

void Hdf5File::set_text(const std::string& object, const std::string& name, const std::string& value) {
  const Call call;
  const Hdf5Id owner(H5Oopen(file_.get(), object.c_str(), H5P_DEFAULT), H5Oclose);
  const Hdf5Id type = text_type(value.size());
  const Hdf5Id space(H5Screate(H5S_SCALAR), H5Sclose);
  const Hdf5Id made(H5Acreate2(owner.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  std::string padded = value;
  padded.resize(std::max<std::size_t>(1, value.size()));
  check_h5(made.get() < 0 ? -1 : H5Awrite(made.get(), type.get(), padded.data()), path_, object, -1,
           "the attribute " + name + " cannot be written");
}

void Hdf5File::set_number(const std::string& object, const std::string& name, std::uint64_t value) {
  const Call call;
  const Hdf5Id owner(H5Oopen(file_.get(), object.c_str(), H5P_DEFAULT), H5Oclose);
  const Hdf5Id space(H5Screate(H5S_SCALAR), H5Sclose);
  const Hdf5Id made(H5Acreate2(owner.get(), name.c_str(), H5T_STD_U64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                    H5Aclose);
  check_h5(made.get() < 0 ? -1 : H5Awrite(made.get(), H5T_NATIVE_UINT64, &value), path_, object, -1,
           "the attribute " + name + " cannot be written");
}

std::string Hdf5File::text(const std::string& object, const std::string& name) const {
  const Call call;
  const Hdf5Id found(H5Aopen_by_name(file_.get(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  check_h5(found.get(), path_, object, -1, "the attribute " + name + " cannot be read");
  const Hdf5Id type(H5Aget_type(found.get()), H5Tclose);
  const Hdf5Id space(H5Aget_space(found.get()), H5Sclose);
  if (H5Tget_class(type.get()) != H5T_STRING || H5Sget_simple_extent_npoints(space.get()) != 1)
    throw DataError(path_.string(), object, -1, "the attribute " + name + " is no text");
  if (H5Tis_variable_str(type.get()) > 0) {  // as Python writes text
    char* own = nullptr;
    check_h5(H5Aread(found.get(), type.get(), static_cast<void*>(&own)), path_, object, -1,
             "the attribute " + name + " cannot be read");
    std::string value(own == nullptr ? "" : own);
    H5free_memory(own);
    return value;
  }
  std::string value(H5Tget_size(type.get()), '\0');
  check_h5(H5Aread(found.get(), type.get(), value.data()), path_, object, -1,
           "the attribute " + name + " cannot be read");
  value.resize(std::min(value.size(), value.find('\0')));
  return value;
}

std::uint64_t Hdf5File::number(const std::string& object, const std::string& name) const {
  const Call call;
  const Hdf5Id found(H5Aopen_by_name(file_.get(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  check_h5(found.get(), path_, object, -1, "the attribute " + name + " cannot be read");
  const Hdf5Id space(H5Aget_space(found.get()), H5Sclose);
  std::uint64_t value = 0;
  const bool single = H5Sget_simple_extent_npoints(space.get()) == 1;
  check_h5(single ? H5Aread(found.get(), H5T_NATIVE_UINT64, &value) : -1, path_, object, -1,
           "the attribute " + name + " is no number");
  return value;
}

const Hdf5File::Column& Hdf5File::column(const std::string& name) const {
  if (const auto at = columns_.find(name); at != columns_.end()) return at->second;
  Column opened{Hdf5Id(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), H5Dclose), {}};
  check_h5(opened.id.get(), path_, name, -1, "the dataset is missing, damaged or of a newer HDF5");
  const Hdf5Id space(H5Dget_space(opened.id.get()), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank != 1 && rank != 2) throw DataError(path_.string(), name, -1, "has neither one nor two dimensions");
  std::array<hsize_t, 2> sizes{};
  H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr);
  opened.shape = {static_cast<std::int64_t>(sizes[0]), rank == 1 ? 0 : static_cast<std::int64_t>(sizes[1])};
  if (opened.shape.rows > 0) check_verifiable(path_, name, opened.id.get(), opened.shape);
  return columns_.emplace(name, std::move(opened)).first->second;
}

Hdf5File::Shape Hdf5File::shape(const std::string& name) const {
  const Call call;
  return column(name).shape;
}

void Hdf5File::check_type(const std::string& name, const Column& column, std::int64_t expected) const {
  const Hdf5Id type(H5Dget_type(column.id.get()), H5Tclose);
  if (H5Tequal(type.get(), expected) <= 0)
    throw DataError(path_.string(), name, -1,
                    "holds " + type_text(type.get()) + " where " + type_text(expected) + " belong");
}

void Hdf5File::write_raw(const std::string& name, std::int64_t type, std::int64_t memory_type, const void* values,
                         Shape shape, std::int64_t chunk_rows) {
  const std::array<hsize_t, 2> sizes{static_cast<hsize_t>(shape.rows), static_cast<hsize_t>(shape.columns)};
  const Hdf5Id space(H5Screate_simple(rank_of(shape), sizes.data(), nullptr), H5Sclose);
  const Hdf5Id creation = creation_list(shape, chunk_rows);
  const Hdf5Id made(H5Dcreate2(file_.get(), name.c_str(), type, space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT),
                    H5Dclose);
  check_h5(made.get(), path_, name, -1, "cannot be made");
  if (shape.rows > 0)
    check_h5(H5Dwrite(made.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), path_, name, -1,
             "cannot be written; is the disk full?");
}

void Hdf5File::read_raw(const std::string& name, std::int64_t type, std::int64_t memory_type, std::int64_t first_row,
                        std::int64_t elements, void* out, std::int64_t blame_row) const {
  const Column& from = column(name);
  check_type(name, from, type);
  const std::int64_t width = std::max<std::int64_t>(1, from.shape.columns);
  const std::int64_t rows = elements / width;
  if (elements % width != 0 || first_row < 0 || rows > from.shape.rows - first_row)
    throw DataError(path_.string(), name, blame_row,
                    "holds " + std::to_string(from.shape.rows) + " entries where " + std::to_string(first_row + rows) +
                        " are expected");
  if (rows == 0) return;
  const std::array<hsize_t, 2> start{static_cast<hsize_t>(first_row), 0};
  const std::array<hsize_t, 2> count{static_cast<hsize_t>(rows), static_cast<hsize_t>(from.shape.columns)};
  const Hdf5Id file_space(H5Dget_space(from.id.get()), H5Sclose);
  H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
  const Hdf5Id memory_space(H5Screate_simple(rank_of(from.shape), count.data(), nullptr), H5Sclose);
  check_h5(H5Dread(from.id.get(), memory_type, memory_space.get(), file_space.get(), H5P_DEFAULT, out), path_, name,
           blame_row, "cannot be read");
}

template <class T>
void Hdf5File::write(const std::string& name, std::span<const T> values, std::int64_t columns,
                     std::int64_t chunk_rows) {
  const Call call;
  const auto elements = static_cast<std::int64_t>(values.size());
  const Types types = types_of<T>();
  write_raw(name, types.file, types.memory, values.data(), {columns == 0 ? elements : elements / columns, columns},
            chunk_rows);
}

template <class T>
void Hdf5File::read(const std::string& name, std::int64_t first_row, std::span<T> out, std::int64_t blame_row) const {
  const Call call;
  const Types types = types_of<T>();
  read_raw(name, types.file, types.memory, first_row, static_cast<std::int64_t>(out.size()), out.data(), blame_row);
}

#define DECANT_ELEMENT(T)                                                                               \
  template void Hdf5File::write<T>(const std::string&, std::span<const T>, std::int64_t, std::int64_t); \
  template void Hdf5File::read<T>(const std::string&, std::int64_t, std::span<T>, std::int64_t) const;
DECANT_ELEMENT(std::uint8_t)
DECANT_ELEMENT(std::uint32_t)
DECANT_ELEMENT(std::uint64_t)
DECANT_ELEMENT(std::int64_t)
DECANT_ELEMENT(float)
DECANT_ELEMENT(Half)
#undef DECANT_ELEMENT

void Hdf5File::close() {
  const Call call;
  columns_.clear();
  check_h5(file_.close(), path_, "", -1, "cannot be completed; is the disk full?");
}

}  // namespace decant::data
