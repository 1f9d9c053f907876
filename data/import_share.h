// How several ranks divide the files of an import among themselves, and how they find out whether all of them read what they
// should have.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/options.h"
#include "data/file_share.h"

namespace decant::data {

/// A file, as the division sees it. One that is not divisible (compressed, Parquet, no plain file) goes to one rank as a whole.
struct FileExtent {
  std::int64_t bytes = 0;
  bool divisible = false;
  bool operator==(const FileExtent&) const = default;
};

/// What one rank reads of a file.
struct FilePiece {
  std::size_t file = 0;
  FileShare share;
};

/// The pieces of one rank, in the order of the files. Ranks have equal numbers of bytes, one after the other: together their
/// pieces are the files in order. When a rank's first piece begins within a file, the last piece of the rank before is of that
/// file, even where it has no byte.
[[nodiscard]] std::vector<FilePiece> pieces_of(std::span<const FileExtent> files, int rank, int ranks);

/// Where a piece begins: at this byte, after so many lines of the file.
struct ShareStart {
  std::int64_t begin = 0, lines_before = 0;
};

/// What a rank tells of its reading. Places are in bytes of the file, -1: not known.
struct ShareReport {
  bool joined = false;                // its first piece begins within a file
  ShareStart first;                   // that piece, as it was read
  bool exact = false;                 // it began there because the rank before ended there
  std::int64_t start = -1, end = -1;  // where the first record of the first piece starts, and where the last piece ends
  std::int64_t lines = 0;             // of the last piece
  bool one_piece = false;
  int failed = 0;             // exit code; 0: all is read
  bool failed_first = false;  // in the first piece
  bool stopped = false;       // by its progress function

  [[nodiscard]] base::Json to_json() const;
  [[nodiscard]] static ShareReport from_json(const base::Json& tree);
};

/// What is to be done after the ranks have told.
struct ShareVerdict {
  bool done = false, stopped = false;
  std::optional<std::size_t> failed;             // the rank whose failure a single process would have met
  std::vector<std::optional<ShareStart>> again;  // of each rank: it reads its pieces again, the first from here
};

/// A rank may have begun in the middle of a record, since a line end may stand within quotes: only the rank before knows where
/// its own last record ends. Whoever began elsewhere reads again. So does a rank whose failure is the first of all and tells
/// the number of a line, once the lines before it are known. `reports`: of all ranks, by rank.
[[nodiscard]] ShareVerdict judge_shares(std::span<const ShareReport> reports);

}  // namespace decant::data
