#include "data/batch_columns.h"

#include <algorithm>

namespace decant::data {

void UserColumns::begin(PackedBatch& batch) const {
  for (const auto& column : columns_) batch.columns.push_back({column.info.full_name(), {}, column.info.width, {}});
}

void UserColumns::add(PackedBatch& batch, std::int64_t row, std::int64_t tokens) const {
  for (const auto& from : columns_) {
    auto& to = batch.column(from.info.full_name());
    const bool number = from.info.kind == "number";
    const auto width = from.info.width, at = row * width;
    if (number)
      to.numbers.insert(to.numbers.end(), tokens, row < 0 ? 0.0F : from.numbers[static_cast<std::size_t>(row)]);
    for (std::int64_t token = 0; !number && token < tokens; ++token) {
      if (row < 0)
        to.values.insert(to.values.end(), static_cast<std::size_t>(width), kMissingCode);
      else
        to.values.insert(to.values.end(), from.codes.begin() + at, from.codes.begin() + at + width);
    }
  }
}

}  // namespace decant::data
