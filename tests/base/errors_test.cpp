#include "base/errors.h"

#include <gtest/gtest.h>

namespace decant::base {
namespace {

TEST(Errors, CarryTheExitCodeOfTheirFamily) {
  EXPECT_EQ(static_cast<int>(ConfigError("x").code()), 2);
  EXPECT_EQ(static_cast<int>(FileError("a", "b").code()), 3);
  EXPECT_EQ(static_cast<int>(ExitCode::kCommunication), 4);
  EXPECT_EQ(static_cast<int>(ExitCode::kNumerics), 5);
  EXPECT_EQ(static_cast<int>(ExitCode::kCheckpoint), 6);
}

TEST(Errors, AFileErrorNamesItsFile) {
  const FileError error("runs/a/job.yaml", "no such file");
  EXPECT_STREQ(error.what(), "runs/a/job.yaml: no such file");
  EXPECT_EQ(error.path(), "runs/a/job.yaml");
}

}  // namespace
}  // namespace decant::base
