#include "data/hdf5_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <numeric>

#include "data/errors.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;

class Hdf5 : public testing::Test {
 protected:
  [[nodiscard]] fs::path path() const { return folder_ / "file.h5"; }
  TempFolder folder_;
};

TEST_F(Hdf5, RoundTripsEveryTypeAndShape) {
  std::vector<std::uint32_t> numbers(1000);
  std::iota(numbers.begin(), numbers.end(), 7U);
  const std::vector<float> floats{1.5F, -0.0F, 3e38F};
  const std::vector<Half> halves{{0x3c00}, {0xfc00}, {0x7e01}, {0x0001}};  // 1, -inf, a NaN with payload, a subnormal
  const std::vector<std::uint8_t> none;
  {
    Hdf5File file = Hdf5File::create(path());
    file.make_group("/a/b");
    file.make_group("/a/c");
    file.write("/a/b/numbers", std::span<const std::uint32_t>(numbers), 10, 7);
    file.write("/floats", std::span<const float>(floats), 0, 100);
    file.write("/halves", std::span<const Half>(halves), 2, 1);
    file.write("/none", std::span<const std::uint8_t>(none), 3, 1);
    file.set_text("/", "name", "decant");
    file.set_text("/a/b", "empty", "");
    file.set_number("/floats", "count", ~std::uint64_t{0});
    file.close();
  }
  const Hdf5File file = Hdf5File::open(path());
  EXPECT_EQ(file.shape("/a/b/numbers"), (Hdf5File::Shape{100, 10}));
  EXPECT_EQ(file.shape("/none"), (Hdf5File::Shape{0, 3}));
  std::vector<std::uint32_t> read(50);
  file.read("/a/b/numbers", 33, std::span(read));
  EXPECT_TRUE(std::equal(read.begin(), read.end(), numbers.begin() + 330));
  std::vector<float> read_floats(3);
  file.read("/floats", 0, std::span(read_floats));
  EXPECT_EQ(read_floats, floats);
  std::vector<Half> read_halves(4);
  file.read("/halves", 0, std::span(read_halves));
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(read_halves[i].bits, halves[i].bits);
  std::vector<std::uint8_t> read_none;
  file.read("/none", 0, std::span(read_none));
  EXPECT_EQ(file.text("/", "name"), "decant");
  EXPECT_EQ(file.text("/a/b", "empty"), "");
  EXPECT_EQ(file.number("/floats", "count"), ~std::uint64_t{0});
}

TEST_F(Hdf5, ErrorsNameFileAndDataset) {
  {
    Hdf5File file = Hdf5File::create(path());
    const std::vector<float> floats{1, 2, 3};
    file.write("/floats", std::span<const float>(floats), 0, 2);
    file.close();
  }
  const Hdf5File file = Hdf5File::open(path());
  std::vector<float> floats(4);
  std::vector<Half> halves(1);
  const auto why = [&](const auto& action) { return message_of<DataError>(action); };
  EXPECT_CONTAINS(why([&] { (void)file.shape("/absent"); }), path().string() + ": /absent: ");
  EXPECT_CONTAINS(why([&] { file.read("/floats", 0, std::span(floats), 9); }), "/floats, row 9: holds 3 entries");
  EXPECT_CONTAINS(why([&] { file.read("/floats", -1, std::span(floats)); }), "/floats");
  EXPECT_CONTAINS(why([&] { file.read("/floats", 0, std::span(halves)); }), "32-bit floats where 16-bit floats belong");
  EXPECT_CONTAINS(why([&] { (void)file.text("/", "absent"); }), "attribute absent");
  EXPECT_CONTAINS(why([&] { (void)file.number("/floats", "absent"); }), "attribute absent");
  EXPECT_CONTAINS(why([&] { (void)Hdf5File::open(folder_ / "absent.h5"); }), "the file is missing");
  EXPECT_CONTAINS(why([&] { (void)Hdf5File::create(folder_ / "no" / "place.h5"); }), "cannot be made");
}

TEST_F(Hdf5, ReadsAFileThatAnotherProcessHasLocked) {
  { Hdf5File::create(path()).close(); }
  const int descriptor = ::open(path().c_str(), O_RDWR);
  ASSERT_EQ(::flock(descriptor, LOCK_EX), 0);
  EXPECT_NO_THROW((void)Hdf5File::open(path()));
  ::close(descriptor);
}

TEST_F(Hdf5, ReadsReadOnlyFiles) {
  { Hdf5File::create(path()).close(); }
  fs::permissions(path(), fs::perms::owner_read);
  EXPECT_NO_THROW((void)Hdf5File::open(path()));
}

}  // namespace
}  // namespace decant::data
