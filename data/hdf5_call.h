// What the sources behind Hdf5File share. The only header of the project that includes hdf5.h.
#pragma once

#include <hdf5.h>

#include <mutex>
#include <string>

#include "data/errors.h"
#include "data/hdf5_file.h"

namespace decant::data {

/// Around every use of the library: one caller at a time (a build of HDF5 without thread safety is then good enough),
/// and no printing of its error stack, which is a setting of the calling thread; the previous one is put back.
struct Hdf5File::Call {
  Call() : lock(mutex()) {
    // The library would close itself at exit, and after a damaged file print that it cannot. Files are closed by their
    // owners, so nothing is lost. It counts only before the first other call, and is harmless later.
    [[maybe_unused]] static const herr_t at_exit = H5dont_atexit();
    H5Eget_auto2(H5E_DEFAULT, &print, &print_data);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Call() { H5Eset_auto2(H5E_DEFAULT, print, print_data); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  static std::recursive_mutex& mutex() {
    static std::recursive_mutex the;
    return the;
  }
  std::lock_guard<std::recursive_mutex> lock;
  H5E_auto2_t print = nullptr;
  void* print_data = nullptr;
};

/// The innermost entry of the library's error stack: what really happened, not which call passed it on.
[[nodiscard]] std::string library_reason();

/// Passes a result of the library on, or throws what failed, why, and what to do.
template <class Result>
Result check_h5(Result result, const fs::path& path, const std::string& dataset, std::int64_t row,
                const std::string& what) {
  if (result >= 0) return result;
  throw DataError(path.string(), dataset, row, what + " (HDF5: " + library_reason() + ")");
}

/// IEEE binary16 and bfloat16 as file types. Made once and never closed: the library closes them at exit.
[[nodiscard]] hid_t half_type();
[[nodiscard]] hid_t brain_type();

inline int rank_of(Hdf5File::Shape shape) { return shape.columns == 0 ? 1 : 2; }

}  // namespace decant::data
