// Imports whose events do not fit the memory they are given: the same bytes, within it, and nothing left behind.
#include <gtest/gtest.h>
#include <malloc.h>

#include <fstream>
#include <string>

#include "data/import.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;

class ImportMemory : public testing::Test {
 protected:
  ImportMemory() {
    options_.format = "interactions";
    options_.files = {(folder_ / "log.csv").string()};
  }

  /// Users come back all through the log, and times go up and down.
  void write_log(int events, int users) {
    std::ofstream file(folder_ / "log.csv");
    file << "user,item,time,kind\n";
    std::uint64_t state = 7;
    for (int i = 0; i < events; ++i) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      const auto draw = static_cast<int>(state >> 34);
      file << 'u' << draw % users << ",i" << draw / users % 97 << ',' << draw % 50'000 << ",k" << draw % 5 << '\n';
    }
  }
  ImportSummary import(const std::string& memory) {
    options_.memory = memory;
    return import_dataset(options_, out());
  }
  [[nodiscard]] std::string all_bytes() const {
    std::string bytes;
    for (const char* name : {"manifest.json", "catalogue.h5", "part-00000.h5"}) bytes += bytes_of(out() / name);
    return bytes;
  }
  [[nodiscard]] fs::path out() const { return folder_ / "dataset"; }

  TempFolder folder_;
  ImportOptions options_;
  InteractionOptions& own_ = options_.interactions;
};

TEST_F(ImportMemory, GivesTheSameBytesWhateverItIs) {
  write_log(120'000, 700);
  own_.event = "kind", own_.event_weights = {"k0=1", "k1=2", "k2=3", "k3=4", "k4=5"};
  own_.keep_time = true, own_.same_event = "drop";
  options_.duplicates = "collapse", options_.k_core = 3, options_.min_events = 5;
  for (const bool sessions : {false, true}) {
    own_.session_gap = sessions ? 60 : 0;
    const auto summary = import("1GiB").to_json();
    const std::string whole = all_bytes();
    EXPECT_GT(summary["events"], 20'000);
    EXPECT_GT(summary["interactions"]["same_events"], 0);
    bool on_disk = false;
    options_.memory = "1MiB";
    EXPECT_EQ(import_dataset(options_, out(), {},
                             [&](const char*) {
                               for (const auto& file : fs::directory_iterator(folder_ / "dataset.tmp"))
                                 on_disk |= file.path().filename().string().starts_with(".events.tmp-");
                             })
                  .to_json(),
              summary);
    EXPECT_TRUE(on_disk);
    EXPECT_TRUE(all_bytes() == whole) << "sessions: " << sessions;
    EXPECT_FALSE(fs::exists(folder_ / "dataset.tmp"));
  }
}

TEST_F(ImportMemory, HoldsForEverySplit) {
  write_log(80'000, 300);
  options_.split = "temporal", options_.valid_from = "40000", options_.test_from = "45000";
  import("1GiB");
  const std::string whole = all_bytes();
  import("1MiB");
  EXPECT_TRUE(all_bytes() == whole);
}

/// In KiB, of this process.
long status(const std::string& field) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(field + ":")) return std::stol(line.substr(field.size() + 1));
  return -1;
}

TEST_F(ImportMemory, IsAboutThePeak) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer's allocator keeps what is freed: its peak is not the import's";
#endif
  if (!std::ofstream("/proc/self/clear_refs").put('5')) GTEST_SKIP() << "the peak cannot be set back here";
  write_log(900'000, 3000);
  own_.event = "kind";
  const auto peak_of = [&](const std::string& memory) {
    ::malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << '5';
    const long before = status("VmRSS");
    import(memory);
    return status("VmHWM") - before;
  };
  constexpr long kConstant = 8 << 10;  // buffers of files and chunks; ids
  EXPECT_GT(peak_of("1GiB"), (8 << 10) + kConstant);
  EXPECT_LT(peak_of("8MiB"), (8 << 10) + kConstant);
}

TEST_F(ImportMemory, AFullDiskNamesTheFile) {
  write_log(120'000, 700);
  options_.memory = "1MiB";
  const FullDisk full(std::size_t{100'000});
  const std::string message = message_of<base::FileError>([&] { import_dataset(options_, out()); });
  EXPECT_CONTAINS(message, "dataset.tmp/.events.tmp-run-0");
  EXPECT_CONTAINS(message, "File too large");
  EXPECT_FALSE(fs::exists(folder_ / "dataset.tmp"));
}

TEST_F(ImportMemory, WhatAKilledImportLeftIsRemoved) {
  fs::create_directories(folder_ / "dataset.tmp");
  write_text(folder_ / "dataset.tmp" / ".events.tmp-run-0", "half");
  write_log(1000, 30);
  import("1GiB");
  EXPECT_FALSE(fs::exists(folder_ / "dataset.tmp"));
}

TEST_F(ImportMemory, HasALeast) {
  write_log(10, 3);
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { import("10KB"); }), "expected at least 1MiB");
}

}  // namespace
}  // namespace decant::data
