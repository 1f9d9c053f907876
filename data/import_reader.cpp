#include "data/import_reader.h"

#include <algorithm>
#include <map>

#include "data/event_values.h"

namespace decant::data {

namespace {

const std::map<std::string, ReadFormat>& formats() {
  static const std::map<std::string, ReadFormat> table{{"interactions", read_interactions},
                                                       {"sequences", read_sequences}};
  return table;
}

}  // namespace

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const auto& [name, read] : formats()) names.push_back(name);
  return names;
}

ReadFormat find_format(const ImportOptions& options) {
  const auto at = formats().find(options.format);
  if (at != formats().end()) return at->second;
  throw base::ConfigError("unknown import format '" + options.format + "' (known: " + base::join(format_names()) + ")");
}

std::vector<ImportFile> files_of(const ImportOptions& options) {
  std::vector<ImportFile> out;
  std::uint8_t part = 0;
  for (const auto* files : {&options.files, &options.valid_files, &options.test_files}) {
    for (const std::string& file : *files) out.push_back({file, part});
    ++part;
  }
  return out;
}

std::int64_t bytes_of(const ImportFile& file) {
  std::error_code error;
  const std::uintmax_t bytes = fs::file_size(file.name, error);
  return error ? 0 : static_cast<std::int64_t>(bytes);
}

std::vector<LogColumn> log_columns(const ImportOptions& options) {
  return options.format == "interactions" ? event_columns(options.interactions) : std::vector<LogColumn>();
}

ImportReader::ImportReader(const ImportOptions& options, const ImportProgress& progress, std::int64_t own,
                           std::int64_t total)
    : options_(options), progress_(progress), own_(own), total_(total) {}

void ImportReader::tick(const LineReader& lines) {
  const auto now = std::chrono::steady_clock::now();
  if (!progress_ || now - last_ < std::chrono::milliseconds(200)) return;  // at most five times a second
  last_ = now;
  const std::int64_t done = done_ + lines.bytes_read();
  // The others read as fast as this one.
  const double share = own_ > 0 ? static_cast<double>(done) / static_cast<double>(own_) : 0;
  progress_(own_ == total_ ? done : std::min(total_, static_cast<std::int64_t>(share * static_cast<double>(total_))),
            total_);
}

void ImportReader::read(const ImportFile& file, LineReader& lines, EventLog& log, ImportSummary& summary) {
  const fs::path path = file.name;
  log.set_part(file.part);
  const ImportSource source{lines, path, options_, options_.on_error == "skip", [&] { tick(lines); }};
  find_format(options_)(source, log, summary);
  done_ += lines.bytes_read();
}

void ImportReader::read_rest(LineReader& lines) {
  constexpr std::int64_t kBytesATick = std::int64_t{1} << 26;
  const std::int64_t before = lines.bytes_read();
  while (!lines.at_end()) {
    lines.skip_to(lines.bytes_read() + kBytesATick);
    tick(lines);
  }
  done_ += lines.bytes_read() - before;
}

void ImportReader::finish() const {
  if (progress_) progress_(total_, total_);
}

std::vector<std::string> read_files(const ImportOptions& options, const ImportProgress& progress, EventLog& log,
                                    ImportSummary& summary) {
  std::int64_t total = 0;
  for (const ImportFile& file : files_of(options)) total += bytes_of(file);
  ImportReader reader(options, progress, total, total);
  std::vector<std::string> hashes;
  for (const ImportFile& file : files_of(options)) {
    LineReader lines((fs::path(file.name)));
    reader.read(file, lines, log, summary);
    hashes.push_back(lines.hash());
  }
  reader.finish();
  return hashes;
}

}  // namespace decant::data
