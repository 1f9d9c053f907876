#include "data/shared_reading.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include "data/hand_over.h"
#include "data/import_reader.h"
#include "data/import_share.h"
#include "data/record_reader.h"

namespace decant::data {

namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
constexpr char kOneFileSystem[] = ": the folder must lie on a file system that all ranks share";

FileExtent extent_of(const ImportOptions& options, const ImportFile& file) {
  FileExtent out{bytes_of(file), false};
  std::error_code error;
  if (!fs::is_regular_file(file.name, error)) return out;
  try {
    constexpr std::size_t kStart = 4096;
    LineReader lines(file.name, kStart);
    out.divisible =
        !lines.compressed() && (options.format != "interactions" || !is_parquet(options.interactions, lines));
  } catch (const base::Error&) {  // whoever reads it tells what is wrong
  }
  return out;
}

/// What reading counts.
std::vector<std::int64_t*> counts_of(ImportSummary& summary) {
  std::vector<std::int64_t*> out{&summary.lines, &summary.events_read, &summary.malformed_lines};
  if (!summary.interactions) return out;
  auto& own = *summary.interactions;
  for (auto* count : {&own.missing_values, &own.other_kinds, &own.below_rating, &own.without_quantity,
                      &own.outside_time, &own.unwanted_values})
    out.push_back(count);
  return out;
}

fs::path events_path(const fs::path& folder, int rank) {
  return folder / ("." + std::string(kEventsName) + ".tmp-share-" + std::to_string(rank));
}

EventShape shape_of(const ImportOptions& options) {
  return {options.format == "interactions" && !options.interactions.time.empty(), options.split != kLeaveLastOut,
          log_columns(options).size()};
}

/// One rank's part; all of them make the same calls.
class SharedReading {
 public:
  /// Collective. `folder`: of rank 0.
  SharedReading(const ImportOptions& options, const SharedImport& shared, const std::string& folder)
      : options_(options), shared_(shared), files_(files_of(options)), folder_(gather(folder).front()) {
    const std::vector<FileExtent> extents = agree_on_extents();
    pieces_ = pieces_of(extents, rank(), ranks());
    for (const FileExtent& file : extents) total_bytes_ += file.bytes;
    for (const auto& [file, share] : pieces_) own_bytes_ += std::min(share.end, extents[file].bytes) - share.begin;
  }

  [[nodiscard]] int rank() const { return shared_.ranks.rank; }
  [[nodiscard]] int ranks() const { return shared_.ranks.ranks; }
  [[nodiscard]] const fs::path& folder() const { return folder_; }

  /// Collective. `once` calls read_pieces() with a log and a summary, anew whenever it is called.
  void read(const std::function<void()>& once) {
    attempt(once);
    if (shared_.at) shared_.at("import-share");
    while (true) {
      std::vector<ShareReport> reports;
      for (const std::string& told : gather(report_.to_json().dump()))
        reports.push_back(ShareReport::from_json(base::Json::parse(told)));
      const ShareVerdict verdict = judge_shares(reports);
      if (verdict.stopped) throw ImportStopped();
      if (verdict.failed) fail(*verdict.failed, reports[*verdict.failed].failed);
      if (verdict.done) return;
      const auto& again = verdict.again[static_cast<std::size_t>(rank())];
      if (!again) continue;
      FileShare& first = pieces_.front().share;
      first.begin = again->begin, first.lines_before = again->lines_before, first.exact = true;
      attempt(once);
    }
  }

  void read_pieces(EventLog& log, ImportSummary& summary) {
    ImportReader reader(options_, shared_.progress, own_bytes_, total_bytes_);
    for (const FilePiece& piece : pieces_) {
      LineReader lines(files_[piece.file].name, piece.share);
      report_.failed_first = &piece == &pieces_.front();
      read_piece(reader, piece, lines, log, summary);
      report_.end = lines.position();
      report_.lines = lines.line_number() - piece.share.lines_before;
      if (piece.share.begin > 0) continue;
      reader.read_rest(lines);
      hashes_[std::to_string(piece.file)] = lines.hash();
    }
  }

  /// Collective: the counts of all, into rank 0's summary; and the files' hashes.
  std::vector<std::string> gather_counts(ImportSummary& summary) {
    base::Json counts = base::Json::array();
    for (const std::int64_t* count : counts_of(summary)) counts.push_back(*count);
    std::vector<std::string> hashes(files_.size());
    events_.clear();
    for (const std::string& told : gather(base::Json{{"counts", counts}, {"hashes", hashes_}}.dump())) {
      const auto tree = base::Json::parse(told);
      ImportSummary theirs = summary;
      const auto to = counts_of(summary), from = counts_of(theirs);
      for (std::size_t c = 0; c < from.size(); ++c) {
        tree.at("counts").at(c).get_to(*from[c]);
        if (!events_.empty()) *to[c] += *from[c];  // rank 0's are there already
      }
      events_.push_back(theirs.events_read);
      for (const auto& [file, hash] : tree.at("hashes").items()) hashes[std::stoul(file)] = hash.get<std::string>();
    }
    return hashes;
  }

  /// Collective, for each rank but the first in turn: its texts get numbers of the leader's log, by table. `log`: of the leader
  /// and of that rank.
  std::vector<std::vector<std::uint32_t>> hand_over_texts(int from, EventLog* log) {
    std::vector<StringTable*> tables;
    if (log != nullptr) tables = log->tables();
    std::vector<std::vector<std::uint32_t>> numbers(2 + shape_of(options_).columns);
    for (std::size_t t = 0; t < numbers.size(); ++t) {
      std::int64_t next = 0;
      bool more = true;
      while (more) {
        const std::string mine = rank() == from ? pack_texts(tables[t]->texts(), next) : "";
        const std::string message = std::move(gather(mine)[static_cast<std::size_t>(from)]);
        more = more_texts(message);
        if (rank() == 0) unpack_texts(message, *tables[t], numbers[t]);
      }
    }
    return numbers;
  }

  /// The leader adds the events of another rank to its log.
  void take_events(int from, const std::vector<std::vector<std::uint32_t>>& numbers, EventLog& log) const {
    const auto refuse = [&](const std::string& why) {
      throw base::FileError(events_path(folder_, from).string(), why + kOneFileSystem);
    };
    const std::string who = "rank " + std::to_string(from);
    if (!fs::exists(events_path(folder_, from))) refuse("rank 0 does not see the events that " + who + " has written");
    const auto file = ScratchFile::take_over(events_path(folder_, from), kBufferBytes);
    std::vector<EventLog::Run> runs;
    UserEvents events(shape_of(options_));
    std::int64_t taken = 0;
    while (read_events(*file, runs, events)) {
      for (auto& run : runs) run.user = numbers[0].at(run.user);
      for (auto& item : events.items) item = numbers[1].at(item);
      for (std::size_t c = 0; c < events.columns.size(); ++c) {
        const auto& texts = numbers[2 + c];
        if (texts.empty()) continue;  // numbers, or no value at all
        for (auto& value : events.columns[c])
          if (value != kNoText) value = texts.at(value);
      }
      log.append(runs, events);
      taken += static_cast<std::int64_t>(events.items.size());
    }
    if (taken != events_.at(static_cast<std::size_t>(from)))
      refuse("has " + std::to_string(taken) + " events where " + who + " has read " +
             std::to_string(events_[static_cast<std::size_t>(from)]));
  }

 private:
  std::vector<std::string> gather(const std::string& mine) const { return shared_.ranks.gather(mine); }

  std::vector<FileExtent> agree_on_extents() const {
    base::Json mine = base::Json::array();
    for (const ImportFile& file : files_) {
      const FileExtent extent = extent_of(options_, file);
      mine.push_back({extent.bytes, extent.divisible});
    }
    std::vector<FileExtent> out;
    const auto told = gather(mine.dump());
    for (std::size_t f = 0; f < files_.size(); ++f)
      for (std::size_t r = 0; r < told.size(); ++r) {
        const auto tree = base::Json::parse(told[r]).at(f);
        const FileExtent theirs{tree.at(0).get<std::int64_t>(), tree.at(1).get<bool>()};
        if (r == 0) out.push_back(theirs);
        if (theirs != out.back())
          throw base::FileError(files_[f].name,
                                "rank " + std::to_string(r) + " sees " + std::to_string(theirs.bytes) +
                                    " bytes of it, and rank 0 " + std::to_string(out.back().bytes) +
                                    ": all ranks must see the same files, which nobody writes meanwhile");
      }
    return out;
  }

  void attempt(const std::function<void()>& once) {
    report_ = {};
    hashes_ = base::Json::object();
    if (!pieces_.empty()) {
      const FileShare& first = pieces_.front().share;
      report_.joined = first.begin > 0;
      report_.first = {first.begin, first.lines_before};
      report_.exact = first.exact;
      report_.one_piece = pieces_.size() == 1;
    }
    try {
      once();
    } catch (const base::Error& error) {
      report_.failed = static_cast<int>(error.code());
      failure_ = std::current_exception();
      failure_text_ = error.what();
    } catch (const ImportStopped&) {
      report_.stopped = true;
    }
  }

  void read_piece(ImportReader& reader, const FilePiece& piece, LineReader& lines, EventLog& log,
                  ImportSummary& summary) {
    const auto note_start = [&] {
      if (report_.failed_first) report_.start = lines.share_start();
    };
    try {
      reader.read(files_[piece.file], lines, log, summary);
    } catch (...) {
      note_start();
      throw;
    }
    note_start();
  }

  /// Collective.
  [[noreturn]] void fail(std::size_t failed, int code) const {
    const bool own = failed == static_cast<std::size_t>(rank());
    const std::string text = gather(own ? failure_text_ : "")[failed];
    if (own) std::rethrow_exception(failure_);
    throw base::Error(static_cast<base::ExitCode>(code), text);
  }

  const ImportOptions& options_;
  SharedImport shared_;
  std::vector<ImportFile> files_;
  fs::path folder_;
  std::vector<FilePiece> pieces_;
  std::int64_t own_bytes_ = 0, total_bytes_ = 0;
  ShareReport report_;
  base::Json hashes_;  // by the number of the file
  std::exception_ptr failure_;
  std::string failure_text_;
  std::vector<std::int64_t> events_;  // that each rank has read
};

}  // namespace

std::vector<std::string> read_as_leader(const ImportOptions& options, const SharedImport& shared,
                                        const fs::path& folder, EventLog& log, ImportSummary& summary) {
  SharedReading reading(options, shared, folder.string());
  reading.read([&] { reading.read_pieces(log, summary); });
  auto hashes = reading.gather_counts(summary);
  for (int from = 1; from < reading.ranks(); ++from)
    reading.take_events(from, reading.hand_over_texts(from, &log), log);
  return hashes;
}

void read_for_leader(const ImportOptions& options, const SharedImport& shared) {
  SharedReading reading(options, shared, "");
  const auto path = events_path(reading.folder(), reading.rank());
  const EventShape shape = shape_of(options);
  std::optional<EventLog> log;
  ImportSummary summary;
  reading.read([&] {
    if (!fs::exists(reading.folder()))
      throw base::FileError(reading.folder().string(), "rank " + std::to_string(reading.rank()) +
                                                           " does not see what rank 0 has made" + kOneFileSystem);
    ScratchFile file(path, kBufferBytes);
    log.emplace(shape.times, shape.parts, log_columns(options),
                [&](std::span<const EventLog::Run> runs, UserEvents& events) { write_events(file, runs, events); });
    summary = {};
    if (options.format == "interactions") summary.interactions.emplace();
    reading.read_pieces(*log, summary);
    log->flush();
    file.hand_over();
  });
  (void)reading.gather_counts(summary);
  for (int from = 1; from < reading.ranks(); ++from) {
    (void)reading.hand_over_texts(from, from == reading.rank() ? &*log : nullptr);
    if (from == reading.rank()) log.reset();
  }
}

}  // namespace decant::data
