#include <dlfcn.h>

#include <filesystem>
#include <limits>
#include <stdexcept>

#include "data/id_text.h"
#include "data/parquet_module.h"
#include "data/record_formats.h"

namespace decant::data {

namespace {

/// Arrow's messages end in blanks, line ends and zeros at times.
std::string_view trimmed_end(std::string_view text) {
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
  return text;
}

/// The module is found by the program's run path: beside it, or in ../lib/decant.
OpenParquet load_module(const std::string& path) {
  void* const module = ::dlopen(kParquetModule, RTLD_NOW | RTLD_LOCAL);
  void* const open = module != nullptr ? ::dlsym(module, kOpenParquet) : nullptr;
  if (open != nullptr) return reinterpret_cast<OpenParquet>(open);
  const char* const why = ::dlerror();
  throw base::ConfigError(path + " is a Parquet file, and this decant cannot read them (" +
                          (why != nullptr ? why : "unknown error") +
                          "): install the wheel pyarrow into .venv (./quickstart does) and build again");
}

class ParquetRecords final : public RecordReader {
 public:
  ParquetRecords(const RecordOptions& options, std::vector<WantedColumn> columns, LineReader& lines,
                 const std::string& path)
      : RecordReader(path, "row"),
        wanted_(std::move(columns)),
        cells_(wanted_.size()),
        lines_(lines),
        path_(path),
        empty_(options) {
    if (lines.compressed())
      throw DataError(path, "a Parquet file that is compressed as a whole is not read: decompress it before");
    const OpenParquet open = load_module(path);
    guarded([&] { file_.reset(open(path.c_str())); });
    const auto known = file_->names();
    for (const auto& column : wanted_)
      if (!column.source.empty() && std::find(known.begin(), known.end(), column.source) == known.end())
        throw DataError(path, "there is no column '" + column.source + "' for '" + column.name +
                                  "' (it has: " + shown_list(known) + ")");
    guarded([&] { file_->select(wanted_); });
    std::error_code error;
    const auto bytes = std::filesystem::file_size(path, error);
    if (!error) bytes_ = static_cast<std::int64_t>(bytes);
  }

  bool next(Record& record, std::string& wrong) override {
    constexpr std::int64_t kRowsAStep = 16'384;  // between hashing a part of the file
    wrong.clear();
    bool more = false;
    guarded([&] { more = file_->next(cells_, wrong); });
    if (!more) {
      lines_.skip_to(std::numeric_limits<std::int64_t>::max());
      return false;
    }
    record = {cells_, row_++};
    for (auto& cell : cells_) cell.text = empty_.of(cell.text);
    if (row_ % kRowsAStep == 0) lines_.skip_to(bytes_ / file_->rows() * row_);
    return true;
  }

 private:
  template <class Action>
  void guarded(const Action& action) const {
    try {
      action();
    } catch (const std::runtime_error& error) {
      throw DataError(path_, "as Parquet: " + printable(trimmed_end(error.what())));
    }
  }

  const std::vector<WantedColumn> wanted_;
  std::vector<Cell> cells_;
  LineReader& lines_;
  const std::string& path_;
  Emptiness empty_;
  std::unique_ptr<ParquetFile> file_;
  std::int64_t row_ = 0, bytes_ = 0;
};

}  // namespace

std::unique_ptr<RecordReader> make_parquet_reader(const RecordOptions& options, std::vector<WantedColumn> columns,
                                                  LineReader& lines, const std::string& path) {
  return std::make_unique<ParquetRecords>(options, std::move(columns), lines, path);
}

}  // namespace decant::data
