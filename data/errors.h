#pragma once

#include <cstdint>
#include <string>

#include "base/errors.h"

namespace decant::data {

/// Input or stored data that is wrong. The message reads "file: dataset, row N: why" ("file: line N: why" for text);
/// parts that do not apply are left out. `row` counts from 1 in text files and from 0 in stores.
class DataError : public base::Error {
 public:
  DataError(const std::string& file, const std::string& dataset, std::int64_t row, const std::string& why);
  DataError(const std::string& file, const std::string& why) : DataError(file, "", -1, why) {}
};

}  // namespace decant::data
