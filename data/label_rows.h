// Labels as they lie on disk: generic columns of so many values a target. What they mean is the kind's (trainer/labels).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/options.h"
#include "data/hdf5_file.h"

namespace decant::data {

/// A column of `width` values a target. One named "ids" holds items; kNoItem where there is none.
struct LabelColumn {
  std::string name;
  Element element = Element::kF32;
  std::int64_t width = 1;
  [[nodiscard]] std::int64_t bytes() const { return width * static_cast<std::int64_t>(bytes_of(element)); }
  bool operator==(const LabelColumn&) const = default;
};

inline constexpr char kIdsColumn[] = "ids";
inline constexpr std::uint32_t kNoItem = 0xffffffffu;

/// What one label set holds; written to its manifest, checked when it is opened for training.
struct LabelSpec {
  std::string key;             // of the stage that wrote it: recipe and events
  std::string recipe;          // what decides a row's labels beside its events: teacher, kind, options, window, version
  std::string kind = "topk";   // one of trainer/labels
  std::string teacher;         // its name in the job file
  std::string teacher_hash;    // of the teacher's weights; with folds: of all hashes below
  std::string catalogue_hash;  // label space
  std::string content_hash;    // dataset whose events were labelled
  std::string exclusion = "none";
  std::string window = "last";
  std::string computed_in = "fp32";     // dtype of the teacher's products
  std::string compression = "deflate";  // none | deflate
  std::int64_t view = 0;
  std::int64_t max_length = 0;
  std::int64_t items = 0;
  std::int64_t rows = 0;
  base::Json options = base::Json::object();  // of the kind
  std::vector<std::string>
      fold_hashes;  // [folds] of the teacher that labelled the rows of data::fold_of; none: no folds
  std::uint64_t fold_seed = 0;
  std::vector<LabelColumn> columns;
  [[nodiscard]] base::Json to_json() const;
  [[nodiscard]] static LabelSpec from_json(const base::Json& tree, const std::filesystem::path& path);
  /// Throws ConfigError when there is none of that name.
  [[nodiscard]] std::size_t column(const std::string& name) const;
};

/// Labels of `targets` targets, column by column.
struct LabelRows {
  std::shared_ptr<const LabelSpec> spec;
  std::int64_t targets = 0;
  std::vector<std::vector<std::byte>> columns;  // [targets, width] little-endian, in the order of spec->columns
  std::vector<std::uint8_t> present;            // [targets] 1: has a label; empty: all have one

  explicit LabelRows(std::shared_ptr<const LabelSpec> of = nullptr);
  /// Targets [first, first + count) of `from`, which has the same columns.
  void append(const LabelRows& from, std::int64_t first, std::int64_t count);
  /// `count` targets without a label.
  void append_absent(std::int64_t count);
  /// The values of a column as what they are.
  template <class T>
  [[nodiscard]] std::span<const T> values(const std::string& name) const {
    const auto& bytes = columns.at(spec->column(name));
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  template <class T>
  void set(const std::string& name, const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    columns.at(spec->column(name)).assign(bytes.begin(), bytes.end());
  }
};

}  // namespace decant::data
