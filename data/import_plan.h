// From the events that an import has left to a dataset: what must be known of all of them before the first row is written,
// and the writing.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/dataset_writer.h"
#include "data/event_blocks.h"
#include "data/event_encoder.h"
#include "data/event_log.h"
#include "data/import.h"

namespace decant::data {

class ImportPlan {
 public:
  /// Walks over the events once. `counts`: events of each item of the log; those without any are left out. Fills the
  /// summary's counts of what is kept. References must outlive it.
  ImportPlan(const std::string& split, EventBlocks& events, EventLog& log, const std::vector<std::uint64_t>& counts,
             ImportSummary& summary);

  /// The catalogue, and how often each item occurs in training.
  [[nodiscard]] const TextColumn& items() const { return items_; }
  [[nodiscard]] const std::vector<std::uint32_t>& training() const { return training_; }
  /// Ids of the rows, and the training events of each.
  struct Users {
    TextColumn ids;
    std::vector<std::uint32_t> training;
  };
  /// Walks over the events once more.
  [[nodiscard]] Users users();

  /// Walks over them once more. `columns`: of items and users. `at`: see DatasetWriter::finish.
  void write(const fs::path& folder, const std::vector<TableColumn>& columns, const base::Json& import,
             const std::function<void(const char*)>& at);

 private:
  void number_items(const std::vector<std::uint64_t>& counts);
  void plan_row(const UserEvents& block, std::size_t row, ImportSummary& summary);
  [[nodiscard]] RowSplit split_of(const UserEvents& block, std::size_t row) const;
  [[nodiscard]] std::string name_of(const RowName& row) const;

  std::string split_;
  EventBlocks& events_;
  EventLog& log_;
  EventEncoder encoder_;
  TextColumn items_;
  std::vector<std::uint32_t> number_;            // of each item of the log: that of the dataset
  std::vector<std::uint32_t> training_, tests_;  // events of each item of the dataset; targets of test
  std::vector<PartSize> parts_;
};

}  // namespace decant::data
