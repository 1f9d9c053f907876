// libdecant_parquet.so.
#include <arrow/api.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/properties.h>

#include <algorithm>
#include <stdexcept>

#include "data/parquet/columns.h"
#include "data/parquet_module.h"

namespace decant::data {

namespace {

void check(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

template <class Value>
Value value_of(arrow::Result<Value> result) {
  check(result.status());
  return std::move(result).ValueUnsafe();
}

const char* wish(ColumnUse use) {
  switch (use) {
    case ColumnUse::kText:
      return "a text, a number or a date";
    case ColumnUse::kNumber:
      return "a number";
    case ColumnUse::kTime:
      return "a timestamp, a date, a number or a text";
  }
  return "";
}

class File final : public ParquetFile {
 public:
  explicit File(const char* path) {
    auto file_properties = parquet::default_reader_properties();
    file_properties.enable_buffered_stream();  // a row group is read piece by piece
    file_properties.set_page_checksum_verification(true);
    parquet::ArrowReaderProperties properties(/*use_threads=*/false);
    properties.set_pre_buffer(false);
    parquet::arrow::FileReaderBuilder builder;
    check(builder.OpenFile(path, /*memory_map=*/false, file_properties));
    reader_ = value_of(builder.properties(properties)->Build());
  }

  [[nodiscard]] std::int64_t rows() const override { return reader_->parquet_reader()->metadata()->num_rows(); }

  [[nodiscard]] std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& field : reader_->manifest().schema_fields) names.push_back(field.field->name());
    return names;
  }

  void select(const std::vector<WantedColumn>& columns) override {
    const auto& fields = reader_->manifest().schema_fields;
    std::vector<int> leaves, groups;
    for (const auto& column : columns) {
      places_.push_back(kNone);
      readers_.push_back(nullptr);
      if (column.source.empty()) continue;
      const auto named = [&](const auto& field) { return field.field->name() == column.source; };
      const auto at = std::find_if(fields.begin(), fields.end(), named);
      if (std::find_if(at + 1, fields.end(), named) != fields.end())
        throw std::runtime_error("there are two columns '" + column.source + "'");
      if (at->is_leaf()) readers_.back() = make_arrow_column(*at->field->type(), column.use);
      if (readers_.back() == nullptr)
        throw std::runtime_error("column '" + column.source + "' is of type " + at->field->type()->ToString() +
                                 ", and '" + column.name + "' wants " + wish(column.use));
      places_.back() = at->column_index;
      if (std::find(leaves.begin(), leaves.end(), at->column_index) == leaves.end()) leaves.push_back(at->column_index);
    }
    // A batch has its columns in the order of the file.
    std::sort(leaves.begin(), leaves.end());
    for (auto& place : places_)
      if (place != kNone) place = static_cast<int>(std::find(leaves.begin(), leaves.end(), place) - leaves.begin());
    for (int group = 0; group < reader_->num_row_groups(); ++group) groups.push_back(group);
    batches_ = value_of(reader_->GetRecordBatchReader(groups, leaves));
  }

  bool next(std::span<Cell> cells, std::string& wrong) override {
    while (batch_ == nullptr || row_ == batch_->num_rows()) {
      if (!next_batch()) return false;
    }
    for (std::size_t c = 0; c < cells.size(); ++c)
      if (readers_[c] != nullptr) readers_[c]->read(row_, cells[c], wrong);
    ++row_;
    return true;
  }

 private:
  static constexpr int kNone = -1;

  bool next_batch() {
    check(batches_->ReadNext(&batch_));
    row_ = 0;
    if (batch_ == nullptr) return false;
    for (std::size_t c = 0; c < readers_.size(); ++c)
      if (readers_[c] != nullptr) readers_[c]->take(*batch_->column(places_[c]));
    return true;
  }

  std::unique_ptr<parquet::arrow::FileReader> reader_;
  std::vector<std::unique_ptr<ArrowColumn>> readers_;  // of each cell; null: not asked for
  std::vector<int> places_;                            // of their columns in a batch
  std::unique_ptr<arrow::RecordBatchReader> batches_;
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::int64_t row_ = 0;
};

}  // namespace

}  // namespace decant::data

extern "C" __attribute__((visibility("default"))) decant::data::ParquetFile* decant_open_parquet_1(const char* path) {
  return new decant::data::File(path);
}
