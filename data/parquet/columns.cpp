#include "data/parquet/columns.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>

namespace decant::data {

namespace {

/// A column whose arrays are of one class.
template <class Array>
class Column : public ArrowColumn {
 public:
  void take(const arrow::Array& array) override { array_ = &static_cast<const Array&>(array); }
  void read(std::int64_t row, Cell& cell, std::string& wrong) final {
    cell = {};
    if (array_->IsValid(row)) value(*array_, row, cell, wrong);
  }

 private:
  virtual void value(const Array& array, std::int64_t row, Cell& cell, std::string& wrong) = 0;
  const Array* array_ = nullptr;
};

class Nulls final : public ArrowColumn {
 public:
  void take(const arrow::Array& /*array*/) override {}
  void read(std::int64_t /*row*/, Cell& cell, std::string& /*wrong*/) override { cell = {}; }
};

template <class Array>
class Texts final : public Column<Array> {
  void value(const Array& array, std::int64_t row, Cell& cell, std::string& /*wrong*/) override {
    cell.text = array.GetView(row);
  }
};

class Booleans final : public Column<arrow::BooleanArray> {
  void value(const arrow::BooleanArray& array, std::int64_t row, Cell& cell, std::string& /*wrong*/) override {
    cell.text = array.Value(row) ? "true" : "false";
  }
};

/// Whole numbers without a fraction, so that ids which pandas holds as floats (for want of nulls) stay what they were.
template <class Array>
class Numbers final : public Column<Array> {
  void value(const Array& array, std::int64_t row, Cell& cell, std::string& /*wrong*/) override {
    const auto number = array.Value(row);
    char* const end = text_.data() + text_.size();
    if constexpr (std::is_floating_point_v<decltype(number)>) {
      if (std::isnan(number)) return;
      constexpr double kFixed = 1e18;
      const auto form = std::abs(number) < kFixed ? std::chars_format::fixed : std::chars_format::general;
      cell.text = {text_.data(), std::to_chars(text_.data(), end, number, form).ptr};
    } else {
      cell.text = {text_.data(), std::to_chars(text_.data(), end, number).ptr};
    }
  }
  std::array<char, 512> text_{};  // 1e-300 in fixed form is long
};

template <class Array>
class Decimals final : public Column<Array> {
  void value(const Array& array, std::int64_t row, Cell& cell, std::string& /*wrong*/) override {
    text_ = array.FormatValue(row);
    if (text_.find('.') != std::string::npos) {
      text_.erase(text_.find_last_not_of('0') + 1);
      if (text_.ends_with('.')) text_.pop_back();
    }
    cell.text = text_;
  }
  std::string text_;
};

/// Points in time, of an array of integers. `up`, `down`: microseconds = value * up / down, rounded down.
template <class Array>
class Times final : public Column<Array> {
 public:
  Times(Micros up, Micros down, ColumnUse use, bool date) : up_(up), down_(down), use_(use), date_(date) {}

 private:
  void value(const Array& array, std::int64_t row, Cell& cell, std::string& wrong) override {
    Micros time = array.Value(row);
    time = time / down_ - (time % down_ < 0 ? 1 : 0);
    if (__builtin_mul_overflow(time, up_, &time) || time < kFirstTime || time > kLastTime) {
      wrong = "a time is out of range (years 0 to 9999)";
      return;
    }
    if (use_ == ColumnUse::kTime)
      cell.time = time;
    else
      cell.text = text_of(time);
  }

  std::string_view text_of(Micros time) {
    using namespace std::chrono;
    const sys_time<microseconds> point{microseconds(time)};
    const auto days = floor<std::chrono::days>(point);
    const year_month_day day(days);
    const hh_mm_ss clock(point - days);
    int size = std::snprintf(text_.data(), text_.size(), "%04d-%02u-%02u", static_cast<int>(day.year()),
                             static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
    if (!date_)
      size += std::snprintf(text_.data() + size, text_.size() - static_cast<std::size_t>(size), " %02d:%02d:%02d",
                            static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                            static_cast<int>(clock.seconds().count()));
    if (const auto fraction = clock.subseconds().count(); fraction != 0)
      size += std::snprintf(text_.data() + size, text_.size() - static_cast<std::size_t>(size), ".%06d",
                            static_cast<int>(fraction));
    return {text_.data(), static_cast<std::size_t>(size)};
  }

  Micros up_, down_;
  ColumnUse use_;
  bool date_;
  std::array<char, 64> text_{};
};

class Dictionaries final : public ArrowColumn {
 public:
  explicit Dictionaries(std::unique_ptr<ArrowColumn> values) : values_(std::move(values)) {}
  void take(const arrow::Array& array) override {
    array_ = &static_cast<const arrow::DictionaryArray&>(array);
    values_->take(*array_->dictionary());
  }
  void read(std::int64_t row, Cell& cell, std::string& wrong) override {
    cell = {};
    if (array_->IsValid(row)) values_->read(array_->GetValueIndex(row), cell, wrong);
  }

 private:
  std::unique_ptr<ArrowColumn> values_;
  const arrow::DictionaryArray* array_ = nullptr;
};

std::unique_ptr<ArrowColumn> make_times(const arrow::DataType& type, ColumnUse use) {
  constexpr Micros kSecond = 1'000'000, kDay = 86'400 * kSecond;
  if (use == ColumnUse::kNumber) return nullptr;
  if (type.id() == arrow::Type::DATE32) return std::make_unique<Times<arrow::Date32Array>>(kDay, 1, use, true);
  if (type.id() == arrow::Type::DATE64) return std::make_unique<Times<arrow::Date64Array>>(1000, 1, use, true);
  using Stamps = Times<arrow::TimestampArray>;
  switch (static_cast<const arrow::TimestampType&>(type).unit()) {
    case arrow::TimeUnit::SECOND:
      return std::make_unique<Stamps>(kSecond, 1, use, false);
    case arrow::TimeUnit::MILLI:
      return std::make_unique<Stamps>(1000, 1, use, false);
    case arrow::TimeUnit::MICRO:
      return std::make_unique<Stamps>(1, 1, use, false);
    case arrow::TimeUnit::NANO:
      return std::make_unique<Stamps>(1, 1000, use, false);
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<ArrowColumn> make_arrow_column(const arrow::DataType& type, ColumnUse use) {
  using arrow::Type;
  switch (type.id()) {
    case Type::NA:
      return std::make_unique<Nulls>();
    case Type::STRING:
      return std::make_unique<Texts<arrow::StringArray>>();
    case Type::LARGE_STRING:
      return std::make_unique<Texts<arrow::LargeStringArray>>();
    case Type::STRING_VIEW:
      return std::make_unique<Texts<arrow::StringViewArray>>();
    case Type::BINARY:
      return std::make_unique<Texts<arrow::BinaryArray>>();
    case Type::LARGE_BINARY:
      return std::make_unique<Texts<arrow::LargeBinaryArray>>();
    case Type::BOOL:
      return use == ColumnUse::kText ? std::make_unique<Booleans>() : nullptr;
    case Type::INT8:
      return std::make_unique<Numbers<arrow::Int8Array>>();
    case Type::INT16:
      return std::make_unique<Numbers<arrow::Int16Array>>();
    case Type::INT32:
      return std::make_unique<Numbers<arrow::Int32Array>>();
    case Type::INT64:
      return std::make_unique<Numbers<arrow::Int64Array>>();
    case Type::UINT8:
      return std::make_unique<Numbers<arrow::UInt8Array>>();
    case Type::UINT16:
      return std::make_unique<Numbers<arrow::UInt16Array>>();
    case Type::UINT32:
      return std::make_unique<Numbers<arrow::UInt32Array>>();
    case Type::UINT64:
      return std::make_unique<Numbers<arrow::UInt64Array>>();
    case Type::FLOAT:
      return std::make_unique<Numbers<arrow::FloatArray>>();
    case Type::DOUBLE:
      return std::make_unique<Numbers<arrow::DoubleArray>>();
    case Type::DECIMAL128:
      return std::make_unique<Decimals<arrow::Decimal128Array>>();
    case Type::DECIMAL256:
      return std::make_unique<Decimals<arrow::Decimal256Array>>();
    case Type::TIMESTAMP:
    case Type::DATE32:
    case Type::DATE64:
      return make_times(type, use);
    case Type::DICTIONARY: {
      auto values = make_arrow_column(*static_cast<const arrow::DictionaryType&>(type).value_type(), use);
      return values == nullptr ? nullptr : std::make_unique<Dictionaries>(std::move(values));
    }
    default:
      return nullptr;
  }
}

}  // namespace decant::data
