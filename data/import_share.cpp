#include "data/import_share.h"

#include <algorithm>

namespace decant::data {

std::vector<FilePiece> pieces_of(std::span<const FileExtent> files, int rank, int ranks) {
  std::int64_t total = 0;
  for (const FileExtent& file : files) total += file.bytes;
  const auto cut = [&](int r) { return total / ranks * r + total % ranks * r / ranks; };
  const std::int64_t begin = cut(rank), end = rank + 1 == ranks ? FileShare::kToTheEnd : cut(rank + 1);
  std::vector<FilePiece> out;
  std::int64_t first = 0;  // byte of the file, of all
  for (std::size_t f = 0; f < files.size(); ++f) {
    const std::int64_t last = first + files[f].bytes;
    const bool begins = first >= begin && first < end;
    const bool within = files[f].divisible && first < begin && begin < last;
    if (begins || within) {
      FileShare share;
      if (within) share.begin = begin - first;
      if (files[f].divisible && end < last) share.end = end - first;
      out.push_back({f, share});
    }
    first = last;
  }
  return out;
}

base::Json ShareReport::to_json() const {
  return {joined, first.begin, first.lines_before, exact, start, end, lines, one_piece, failed, failed_first, stopped};
}

ShareReport ShareReport::from_json(const base::Json& tree) {
  ShareReport out;
  auto take = [&tree, field = std::size_t{0}](auto& value) mutable { tree.at(field++).get_to(value); };
  take(out.joined);
  take(out.first.begin);
  take(out.first.lines_before);
  take(out.exact);
  take(out.start);
  take(out.end);
  take(out.lines);
  take(out.one_piece);
  take(out.failed);
  take(out.failed_first);
  take(out.stopped);
  return out;
}

ShareVerdict judge_shares(std::span<const ShareReport> reports) {
  ShareVerdict out;
  out.again.resize(reports.size());
  out.stopped = std::any_of(reports.begin(), reports.end(), [](const auto& one) { return one.stopped; });
  if (out.stopped) return out;
  bool sure = true;        // all so far began where they should
  std::int64_t lines = 0;  // of the file that the rank before ended in, up to there
  for (std::size_t r = 0; r < reports.size(); ++r) {
    const ShareReport& own = reports[r];
    ShareStart right;
    if (own.joined) {
      const ShareReport& before = reports[r - 1];
      right = {before.end, lines};
      const bool fits = (own.exact ? own.first.begin : own.start) == before.end;
      if (!fits && before.failed == 0) out.again[r] = right;
      sure = sure && fits;
    }
    if (sure && own.failed != 0) {
      out.again.assign(reports.size(), std::nullopt);
      if (own.joined && own.failed_first && own.first.lines_before != lines)
        out.again[r] = right;
      else
        out.failed = r;
      return out;
    }
    lines = own.lines + (own.joined && own.one_piece ? lines : 0);
  }
  out.done = sure;
  return out;
}

}  // namespace decant::data
