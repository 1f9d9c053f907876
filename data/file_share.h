// Which lines of a plain file one of several readers reads.
#pragma once

#include <cstdint>
#include <limits>

namespace decant::data {

/// The lines, or records of lines, that start at the bytes [begin, end).
struct FileShare {
  static constexpr std::int64_t kToTheEnd = std::numeric_limits<std::int64_t>::max();
  std::int64_t begin = 0, end = kToTheEnd;
  bool exact = false;             // a record is known to start at `begin`
  std::int64_t lines_before = 0;  // where that is known, for numbers of lines
};

}  // namespace decant::data
