#include "data/packed_batch.h"

#include <utility>

#include "data/errors.h"

namespace decant::data {

const RaggedColumn& PackedBatch::column(const std::string& name) const {
  for (const RaggedColumn& column : columns)
    if (column.name == name) return column;
  std::string known;
  for (const RaggedColumn& column : columns) known += (known.empty() ? "" : ", ") + column.name;
  throw DataError("", "column " + name, -1, "the batch has none of that name (it has: " + known + ")");
}

RaggedColumn& PackedBatch::column(const std::string& name) {
  return const_cast<RaggedColumn&>(std::as_const(*this).column(name));
}

}  // namespace decant::data
