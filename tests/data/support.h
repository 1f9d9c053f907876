// What the tests of data share: folders of their own, small datasets, damaged copies of files.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "data/import.h"

namespace decant::data::testing_support {

/// A folder that is gone when the test is over.
class TempFolder {
 public:
  TempFolder() {
    static std::atomic<int> counter{0};
    path_ = fs::path(::testing::TempDir()) /
            ("decant-data-" + std::to_string(::getpid()) + "-" + std::to_string(counter++));
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~TempFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

inline void write_text(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

inline std::string bytes_of(const fs::path& path) { return base::read_file(path); }

/// Runs `action` and returns the message of the Error it threw; fails the test when it threw nothing.
template <class Error, class Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

#define EXPECT_CONTAINS(text, part) EXPECT_PRED2(::decant::data::testing_support::contains, (text), std::string(part))

using Rows = std::vector<std::vector<std::string>>;

/// What a dataset holds, by original ids, all splits.
inline Rows named_rows(const fs::path& folder) {
  const Dataset dataset(folder);
  Rows out;
  for (std::int64_t row = 0; row < dataset.info().rows; ++row) {
    std::vector<std::string> names;
    for (const std::int64_t item : dataset.training_events(row)) names.push_back(dataset.item_name(item));
    if (dataset.length(row) >= 3) {
      for (const Split split : {Split::kValid, Split::kTest})
        names.push_back(dataset.item_name(dataset.evaluation_batch(split, row, 1, 1).target_ids.at(0)));
    }
    out.push_back(names);
  }
  return out;
}

inline std::vector<std::string> item_names(const fs::path& folder) {
  const Dataset dataset(folder);
  std::vector<std::string> names;
  for (std::int64_t item = 0; item < dataset.info().items; ++item) names.push_back(dataset.item_name(item));
  return names;
}

/// A dataset of these rows; users are named u0, u1, ..., items i0, i1, ....
inline DatasetContent content_of(const std::vector<std::vector<std::uint32_t>>& rows, std::uint32_t items = 0) {
  DatasetContent content;
  for (const auto& row : rows) {
    content.users.push_back(std::string("u").append(std::to_string(content.rows())));
    content.events.insert(content.events.end(), row.begin(), row.end());
    content.offsets.push_back(content.events.size());
    for (const std::uint32_t item : row) items = std::max(items, item + 1);
  }
  for (std::uint32_t item = 0; item < items; ++item) content.items.push_back("i" + std::to_string(item));
  return content;
}

inline void write_rows(const fs::path& folder, const std::vector<std::vector<std::uint32_t>>& rows,
                       std::int64_t part_rows = kPartRows) {
  write_dataset(content_of(rows), folder, part_rows);
}

/// Rows of 0 to 11 events over 50 items, no two alike in length and content by chance only.
inline std::vector<std::vector<std::uint32_t>> ragged_rows(std::size_t count) {
  std::vector<std::vector<std::uint32_t>> rows(count);
  for (std::size_t r = 0; r < count; ++r) {
    const std::size_t length = (r * 7 + r / 11) % 12;
    for (std::size_t i = 0; i < length; ++i)
      rows[r].push_back(static_cast<std::uint32_t>((r * 31 + i * i * 17 + i) % 50));
  }
  return rows;
}

inline std::vector<std::int64_t> all_rows(const Dataset& dataset) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(dataset.info().rows));
  for (std::size_t r = 0; r < rows.size(); ++r) rows[r] = static_cast<std::int64_t>(r);
  return rows;
}

/// All that training and evaluation can see of a dataset, to compare.
struct Everything {
  std::vector<std::int64_t> lengths, events, counts;
  std::vector<std::string> names;
  bool operator==(const Everything&) const = default;
};

inline Everything read_everything(const fs::path& folder) {
  const Dataset dataset(folder);
  Everything out;
  for (std::int64_t row = 0; row < dataset.info().rows; ++row) {
    out.lengths.push_back(dataset.length(row));
    for (const std::int64_t item : dataset.training_events(row)) out.events.push_back(item);
  }
  const PackedBatch test = dataset.evaluation_batch(Split::kTest, 0, dataset.info().rows, 1000);
  out.events.insert(out.events.end(), test.target_ids.begin(), test.target_ids.end());
  out.events.insert(out.events.end(), test.columns[0].values.begin(), test.columns[0].values.end());
  out.counts = dataset.training_counts();
  for (std::int64_t item = 0; item < dataset.info().items; ++item) out.names.push_back(dataset.item_name(item));
  return out;
}

/// While it lives, no file of this process grows beyond `bytes`: what a full disk does, as an error of write.
class FullDisk {
 public:
  explicit FullDisk(std::size_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
  void (*signal_)(int);
};

/// Overwrites one byte of a file in place.
inline void poke(const fs::path& path, std::size_t at, char byte) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

}  // namespace decant::data::testing_support
