// All events of an import, row by row, as one block in memory or as many in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "data/dataset_writer.h"
#include "data/scratch_file.h"
#include "data/user_events.h"

namespace decant::data {

/// Where an import puts what does not fit memory.
struct EventStorage {
  DatasetFolder& folder;
  std::size_t buffer_bytes = 0;  // of each open file
  /// ".events.tmp-<what>", in the folder.
  [[nodiscard]] std::unique_ptr<ScratchFile> make(const std::string& what) const;
};

class EventBlocks {
 public:
  using Change = std::function<void(UserEvents&)>;

  /// One block, in memory.
  explicit EventBlocks(UserEvents whole);
  /// None yet, in a file.
  explicit EventBlocks(EventStorage storage);

  /// One more block. REQUIRES: they lie in a file.
  void append(UserEvents& block);
  /// Lets `change` change every block, in order. Rows may go and so may events, but not the arrays that events have.
  void change(const Change& change);
  /// Lets `visit` see every block, in order.
  void visit(const std::function<void(UserEvents&)>& visit);
  /// Frees them all; a file is gone.
  void discard();
  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] std::int64_t events() const { return events_; }

 private:
  void count(const UserEvents& block);
  void write(UserEvents& block);
  [[nodiscard]] static bool read(ScratchFile& file, UserEvents& block);

  std::int64_t rows_ = 0, events_ = 0;
  UserEvents whole_;
  std::unique_ptr<EventStorage> storage_;  // none: in memory
  std::unique_ptr<ScratchFile> file_;
  int files_ = 0;
  EventShape shape_;
};

}  // namespace decant::data
