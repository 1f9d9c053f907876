// A column of items or users, whole in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "data/column.h"
#include "data/dataset_layout.h"

namespace decant::data {

/// One of `codes` [rows * width], `numbers` [rows] and `texts` [rows], by its kind.
struct TableColumn {
  ColumnInfo info;
  std::vector<std::uint32_t> codes;
  std::vector<float> numbers;
  TextColumn texts;
  TextColumn vocabulary;  // category: text of code kFirstValueCode + i
};

}  // namespace decant::data
