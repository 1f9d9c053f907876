#include "data/packed_batch.h"

#include "data/errors.h"

namespace decant::data {

const RaggedColumn& PackedBatch::column(const std::string& name) const {
  std::string known;
  for (const RaggedColumn& column : columns) {
    if (column.name == name) return column;
    known += (known.empty() ? "" : ", ") + column.name;
  }
  throw DataError("", "column " + name, -1, "the batch has none of that name (it has: " + known + ")");
}

}  // namespace decant::data
