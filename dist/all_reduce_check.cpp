#include "dist/all_reduce_check.h"

#include <algorithm>
#include <array>
#include <utility>

namespace decant::dist {

namespace {

using Clock = std::chrono::steady_clock;

/// What rank r gives at element i is i % 101 + r: neither a shifted segment nor a rank left out gives the right result.
constexpr std::int64_t kPeriod = 101;

torch::Tensor pattern(std::int64_t elements, const Communicator& communicator) {
  return torch::arange(elements, torch::TensorOptions(torch::kInt64).device(communicator.device())).remainder(kPeriod);
}

torch::Tensor expected(const torch::Tensor& pattern, std::int64_t size, Reduce op) {
  if (op == Reduce::kSum) return pattern * size + size * (size - 1) / 2;
  return op == Reduce::kMax ? pattern + (size - 1) : pattern;
}

const char* name_of(Reduce op) { return op == Reduce::kSum ? "sum" : op == Reduce::kMax ? "maximum" : "minimum"; }

/// "" or what this rank found.
std::string check_one(Communicator& communicator, std::int64_t elements, torch::ScalarType type, Reduce op) {
  const torch::Tensor base = pattern(elements, communicator);
  torch::Tensor values = (base + communicator.rank()).to(type);
  communicator.all_reduce(values, op)->wait();
  const torch::Tensor wanted = expected(base, communicator.size(), op).to(type);
  const torch::Tensor wrong = values.ne(wanted).nonzero().view({-1});
  if (wrong.numel() == 0) return "";
  const auto first = wrong[0].item<std::int64_t>();
  return std::string("all-reduce, ") + name_of(op) + " of " + std::to_string(elements) + " " + c10::toString(type) +
         ": rank " + std::to_string(communicator.rank()) + " has " + std::to_string(wrong.numel()) +
         " wrong values, at element " + std::to_string(first) + " " + std::to_string(values[first].item<double>()) +
         " instead of " + std::to_string(wanted[first].item<double>());
}

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// Mean of `calls` in a row on this rank; wait() returns when the result is there, on a device too.
double time_once(Communicator& communicator, const torch::Tensor& tensor, int calls) {
  communicator.barrier();
  const auto begin = Clock::now();
  for (int call = 0; call < calls; ++call) communicator.all_reduce(tensor, Reduce::kSum)->wait();
  return seconds_since(begin) / calls;
}

/// Each repeat's time of the slowest rank.
std::vector<double> time_repeats(Communicator& communicator, const torch::Tensor& tensor, int calls, int repeats) {
  std::vector<double> times;
  times.reserve(static_cast<std::size_t>(repeats));
  for (int repeat = 0; repeat < repeats; ++repeat) times.push_back(time_once(communicator, tensor, calls));
  communicator.all_reduce_host(times, Reduce::kMax);
  return times;
}

AllReduceTime summarise(std::int64_t bytes, std::vector<double> times, int size) {
  std::sort(times.begin(), times.end());
  const std::size_t half = times.size() / 2;
  const double median = times.size() % 2 == 1 ? times[half] : (times[half - 1] + times[half]) / 2;
  const double algbw = static_cast<double>(bytes) / median;
  return {bytes, static_cast<int>(times.size()), median, times.front(), times.back(),
          algbw, algbw * 2 * (size - 1) / size};
}

}  // namespace

std::vector<std::string> check_all_reduce(Communicator& communicator) {
  // About 16 KiB the way of summing changes, and a million elements are several messages.
  constexpr std::array<std::int64_t, 4> kElements{1, 1000, 5003, 1'000'003};
  std::vector<std::string> out;
  for (const torch::ScalarType type : {torch::kFloat32, torch::kFloat64, torch::kInt64})
    for (const Reduce op : {Reduce::kSum, Reduce::kMax, Reduce::kMin})
      for (const std::int64_t elements : kElements)
        for (const std::string& told : communicator.gather_bytes(check_one(communicator, elements, type, op)))
          if (!told.empty()) out.push_back(told);
  return out;
}

std::vector<AllReduceTime> time_all_reduce(Communicator& communicator, const AllReduceTest& test) {
  constexpr std::array<std::int64_t, 9> kBytes{8,       1 << 10,  16 << 10, 256 << 10, 1 << 20,
                                               4 << 20, 16 << 20, 64 << 20, 256 << 20};
  constexpr std::int64_t kSmallBytes = 64 << 10;  // up to here a barrier's own jitter would show in a single call
  constexpr int kSmallCalls = 10, kLeast = 5;
  constexpr std::size_t kMost = 100;
  const auto fits = [&](std::int64_t bytes) { return bytes <= test.most_bytes; };
  auto sizes_left = static_cast<double>(std::count_if(kBytes.begin(), kBytes.end(), fits));
  const auto begin = Clock::now();
  std::vector<AllReduceTime> out;
  for (const std::int64_t bytes : kBytes) {
    if (!fits(bytes)) break;
    std::vector<double> left{test.budget.count() - seconds_since(begin)};
    communicator.all_reduce_host(left, Reduce::kMin);
    // The time of a larger message is at most that of as many smaller ones: a bound, since latency counts again.
    if (!out.empty()) {
      const double guess = out.back().seconds * static_cast<double>(bytes) / static_cast<double>(out.back().bytes);
      if (left[0] <= 0 || (bytes > kSmallBytes && guess * (kLeast + 1) > left[0])) break;
    }
    const auto tensor = torch::zeros({bytes / 4}, torch::TensorOptions(torch::kFloat32).device(communicator.device()));
    const int calls = bytes <= kSmallBytes ? kSmallCalls : 1;
    time_once(communicator, tensor, calls);  // buffers are made
    const double share = left[0] / sizes_left;
    const auto size_begin = Clock::now();
    std::vector<double> times, spent{0};
    do {
      const std::vector<double> more = time_repeats(communicator, tensor, calls, kLeast);
      times.insert(times.end(), more.begin(), more.end());
      spent[0] = seconds_since(size_begin);
      communicator.all_reduce_host(spent, Reduce::kMax);
    } while (spent[0] < share && times.size() < kMost);
    out.push_back(summarise(bytes, std::move(times), communicator.size()));
    --sizes_left;
  }
  return out;
}

}  // namespace decant::dist
