// One import by all ranks over MPI: the bytes, the summary and the messages of one process.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "base/files.h"
#include "data/import.h"
#include "tests/multirank/world.h"
#include "trainer/import_ranks.h"

namespace decant::multirank {
namespace {

namespace fs = std::filesystem;

/// A folder that all ranks see, gone when the test is over.
class SharedFolder {
 public:
  SharedFolder() {
    const fs::path own = fs::path(testing::TempDir()) / ("decant-import-" + std::to_string(::getpid()));
    path_ = world().broadcast_bytes(own.string(), 0);
    if (world().rank() == 0) fs::create_directories(path_);
    world().barrier();
  }
  ~SharedFolder() {
    std::error_code error;
    if (world().rank() == 0) fs::remove_all(path_, error);
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::map<std::string, std::string> files_in(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& file : fs::directory_iterator(folder))
    out[file.path().filename().string()] = base::read_file(file.path());
  return out;
}

class ImportByAllRanks : public testing::Test {
 protected:
  ImportByAllRanks() {
    options_.format = "interactions";
    options_.interactions.event = "kind";
    options_.files = {(folder_.path() / "log.csv").string()};
  }

  void write(const std::string& bad, int at) {
    if (world().rank() == 0) {
      std::ofstream file(folder_.path() / "log.csv");
      file << "user,item,time,kind,note\n";
      for (int i = 0; i < 20'000; ++i) {
        if (i == at) file << bad;
        file << "u" << i * 7 % 911 << ",i" << i * i % 97 << ',' << i * 13 % 5000 << ",k" << i % 5 << ",\"a\nnote\"\n";
      }
    }
    world().barrier();
  }
  data::ImportSummary import(const std::string& name) {
    return data::import_dataset(options_, folder_.path() / name, {}, {}, trainer::import_ranks(world()));
  }
  data::ImportSummary import_alone(const std::string& name) {
    return data::import_dataset(options_, folder_.path() / name);
  }

  SharedFolder folder_;
  data::ImportOptions options_;
};

TEST_F(ImportByAllRanks, GivesTheBytesOfOneProcess) {
  write("", -1);
  const auto together = import("together").to_json();
  world().rendezvous();
  if (world().rank() != 0) return;
  EXPECT_EQ(together, import_alone("alone").to_json());
  EXPECT_EQ(together["events"], 20'000);
  EXPECT_TRUE(files_in(folder_.path() / "together") == files_in(folder_.path() / "alone"));
  EXPECT_FALSE(fs::exists(folder_.path() / "together.tmp"));
}

TEST_F(ImportByAllRanks, NamesTheLineOfAnErrorOnEveryRank) {
  for (const int at : {3, 9000, 19'999}) {
    write("a,x,soon,k1,\n", at);
    std::string thrown;
    try {
      (void)import("together");
    } catch (const base::Error& error) {
      EXPECT_EQ(error.code(), base::ExitCode::kData);
      thrown = error.what();
    }
    const std::string place = "log.csv: line " + std::to_string(2 * at + 2) + ": time 'soon' is no time";
    EXPECT_NE(thrown.find(place), std::string::npos) << thrown;
    for (const auto& theirs : world().gather_bytes(thrown)) EXPECT_EQ(theirs, thrown);
  }
}

}  // namespace
}  // namespace decant::multirank
