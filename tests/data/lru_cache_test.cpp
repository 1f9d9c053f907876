#include "data/lru_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace decant::data {
namespace {

class Lru : public testing::Test {
 protected:
  std::string get(std::uint64_t key, std::size_t size = 1) {
    return *cache_.get(key, [&] {
      loads_.push_back(key);
      return std::pair(std::make_shared<const std::string>(std::to_string(key)), size);
    });
  }
  LruCache<std::string> cache_{3};
  std::vector<std::uint64_t> loads_;
};

TEST_F(Lru, DropsTheLeastRecentlyUsed) {
  for (const std::uint64_t key : {1, 2, 3, 1, 4, 1, 3, 2}) EXPECT_EQ(get(key), std::to_string(key));
  // 2 was the oldest when 4 came, and is loaded again; 1 and 3 stayed.
  EXPECT_EQ(loads_, (std::vector<std::uint64_t>{1, 2, 3, 4, 2}));
}

TEST_F(Lru, KeepsTheNewestHoweverLarge) {
  (void)get(1);
  (void)get(2, 100);
  (void)get(2, 100);
  EXPECT_EQ(loads_, (std::vector<std::uint64_t>{1, 2}));
  (void)get(1);
  (void)get(2, 100);
  EXPECT_EQ(loads_, (std::vector<std::uint64_t>{1, 2, 1, 2}));
}

TEST_F(Lru, ADroppedValueLivesWithItsHolder) {
  const auto held =
      cache_.get(1, [] { return std::pair(std::make_shared<const std::string>("held"), std::size_t{3}); });
  (void)get(2, 3);
  EXPECT_EQ(*held, "held");
}

TEST_F(Lru, AFailedLoadLeavesNothing) {
  EXPECT_THROW(
      (void)cache_.get(
          1, []() -> std::pair<std::shared_ptr<const std::string>, std::size_t> { throw std::runtime_error("no"); }),
      std::runtime_error);
  EXPECT_EQ(get(1), "1");
}

TEST_F(Lru, LoadsOnceForManyThreads) {
  LruCache<int> cache(100);
  std::atomic<int> loads{0}, sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (std::uint64_t key = 0; key < 50; ++key) {
        sum += *cache.get(key, [&] {
          ++loads;
          return std::pair(std::make_shared<const int>(static_cast<int>(key)), std::size_t{1});
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(loads, 50);
  EXPECT_EQ(sum, 4 * 49 * 25);
}

}  // namespace
}  // namespace decant::data
