#include "data/errors.h"

namespace decant::data {

namespace {

std::string message(const std::string& file, const std::string& dataset, std::int64_t row, const std::string& why) {
  std::string place = dataset;
  if (row >= 0) {
    // Only stores have datasets: without one the row is a line of text.
    if (dataset.empty())
      place = "line " + std::to_string(row);
    else
      place += ", row " + std::to_string(row);
  }
  std::string out;
  for (const std::string& part : {file, place}) {
    if (!part.empty()) out += part + ": ";
  }
  return out + why;
}

}  // namespace

DataError::DataError(const std::string& file, const std::string& dataset, std::int64_t row, const std::string& why)
    : base::Error(base::ExitCode::kData, message(file, dataset, row, why)) {}

}  // namespace decant::data
