#include "monitoring/scalar_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "monitoring/event_file.h"

namespace decant::monitoring {
namespace {

namespace fs = std::filesystem;

std::string hex(const std::string& bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string out;
  for (const char byte : bytes) {
    out += kDigits[static_cast<unsigned char>(byte) >> 4];
    out += kDigits[static_cast<unsigned char>(byte) & 15];
  }
  return out;
}

// RFC 3720, B.4, and the check value of the catalogue of parametrised CRC algorithms.
TEST(EventFile, Crc32c) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
}

// What protobuf's own serializer makes of the same messages.
TEST(EventFile, EventsAreProtobufs) {
  EXPECT_EQ(hex(version_event(1.5)),
            "09000000000000f83f"
            "1a0d" +
                hex("brain.Event:2"));
  EXPECT_EQ(hex(restart_event(1.5, 300)),
            "09000000000000f83f"
            "10ac02"
            "3a020801");
  EXPECT_EQ(hex(scalar_event(1.5, 300, "loss/ce", 0.5F)),
            "09000000000000f83f"
            "10ac02"
            "2a10"
            "0a0e"
            "0a07" +
                hex("loss/ce") + "150000003f");
}

TEST(EventFile, RecordsAreFramed) {
  const std::string record = tf_record("123456789");
  ASSERT_EQ(record.size(), 8 + 4 + 9 + 4U);
  EXPECT_EQ(hex(record.substr(0, 8)), "0900000000000000");
  EXPECT_EQ(record.substr(12, 9), "123456789");
  // 0xe3069283 turned right by 15 bits is 0x2507c60d; plus 0xa282ead8.
  EXPECT_EQ(hex(record.substr(21)), "e5b08ac7");
}

class ScalarLogFiles : public ::testing::Test {
 protected:
  ScalarLogFiles() { fs::remove_all(folder_); }
  ~ScalarLogFiles() override { fs::remove_all(folder_); }

  static void train(Metrics& metrics, const std::string& stage, int from, int to) {
    metrics.set_stage(stage);
    for (int step = from; step <= to; ++step) {
      metrics.set("decant_step", step);
      metrics.set("decant_learning_rate", 0.5);
      metrics.set("decant_epoch", 1);
    }
  }
  /// Contents of a stage's files, in the order of their names.
  [[nodiscard]] std::vector<std::string> files(const std::string& stage) const {
    std::vector<fs::path> paths;
    if (fs::exists(folder_ / stage))
      for (const auto& entry : fs::directory_iterator(folder_ / stage)) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    std::vector<std::string> out;
    for (const auto& path : paths) {
      std::ifstream file(path, std::ios::binary);
      out.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    return out;
  }
  static std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
  }
  /// Bytes of a restart at `step`, as they lie in a file.
  static std::string restart(int step) { return restart_event(0, step).substr(9); }

  const fs::path folder_ = fs::temp_directory_path() / ("decant_scalars_" + std::to_string(::getpid()));
};

TEST_F(ScalarLogFiles, AreOneAStageAndBeginWithTheirFirstStep) {
  Metrics metrics("r", 0);
  {
    const ScalarLog log(metrics, folder_, [](const auto&) { FAIL(); });
    train(metrics, "teacher", 1, 3);
    train(metrics, "student", 1, 2);
    metrics.set_part("decant_valid_metric", "ndcg@10", 0.25);
  }
  train(metrics, "student", 3, 4);  // nobody listens any more
  const auto teacher = files("teacher"), student = files("student");
  ASSERT_EQ(teacher.size(), 1U);
  ASSERT_EQ(student.size(), 1U);
  EXPECT_EQ(count(teacher[0], "learning_rate"), 3U);
  EXPECT_EQ(count(teacher[0], restart(1)), 1U);
  EXPECT_EQ(count(student[0], "learning_rate"), 2U);
  EXPECT_EQ(count(student[0], "valid/ndcg@10"), 1U);
  EXPECT_EQ(count(student[0], "epoch"), 0U);
}

TEST_F(ScalarLogFiles, OfAContinuedStageVoidWhatIsToComeAgain) {
  for (const int from : {1, 11}) {
    Metrics metrics("r", 0);
    const ScalarLog log(metrics, folder_, [](const auto&) { FAIL(); });
    train(metrics, "teacher", from, from + 14);
  }
  const auto found = files("teacher");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(count(found[0], restart(1)), 1U);
  EXPECT_EQ(count(found[1], restart(11)), 1U);
}

TEST_F(ScalarLogFiles, AreNewForAStageThatBeginsAgain) {
  Metrics metrics("r", 0);
  {
    const ScalarLog log(metrics, folder_, [](const auto&) { FAIL(); });
    train(metrics, "student", 1, 3);
    metrics.set_stage("evaluate");
    train(metrics, "student", 1, 2);
  }
  EXPECT_EQ(files("student").size(), 2U);
}

TEST_F(ScalarLogFiles, ThatCannotBeWrittenAreCountedAndToldOnce) {
  std::ofstream(folder_) << "a file where the folder should be";
  Metrics metrics("r", 0);
  std::vector<std::string> said;
  {
    const ScalarLog log(metrics, folder_, [&](const std::string& text) { said.push_back(text); });
    train(metrics, "teacher", 1, 3);
  }
  ASSERT_EQ(said.size(), 1U);
  EXPECT_NE(said[0].find(folder_.string() + ": Not a directory"), std::string::npos) << said[0];
  const std::string counted = R"(decant_tensorboard_dropped_total{rank="0",run="r",stage="teacher"} 3)";
  EXPECT_NE(metrics.text().find(counted), std::string::npos) << metrics.text();
}

}  // namespace
}  // namespace decant::monitoring
