#include "dist/communicator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>

#include "dist/errors.h"
#include "tests/multirank/world.h"

namespace decant::multirank {
namespace {

using dist::Communicator;
using dist::Reduce;
using torch::Tensor;

// 0 and 1, odd ones, both sides of the 16 KiB at which the way of exchange changes, one message and several.
const std::vector<std::int64_t> kSizes{0,    1,    3,    7,       1000,          2047,
                                       2049, 4095, 4097, 100'003, (1 << 18) + 1, (1 << 20) + 13};

/// Small integers, so that every sum is exact in every type.
Tensor values(std::int64_t size, int rank, torch::ScalarType type) {
  return ((torch::arange(size, torch::kInt64) * (rank + 3) + rank * 5) % 31).to(type);
}

Tensor expected(std::int64_t size, int ranks, torch::ScalarType type, Reduce op) {
  Tensor out = values(size, 0, type);
  for (int rank = 1; rank < ranks; ++rank) {
    const Tensor next = values(size, rank, type);
    out = op == Reduce::kSum ? out + next : op == Reduce::kMax ? torch::maximum(out, next) : torch::minimum(out, next);
  }
  return out;
}

/// The same float bits on every rank and in every run of the test.
Tensor random_like(std::int64_t size, int rank, torch::ScalarType type) {
  auto generator = at::detail::createCPUGenerator(100 + rank);
  return (torch::randn({size}, generator, torch::kFloat64) * torch::exp(torch::randn({size}, generator) * 5)).to(type);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.nbytes() == b.nbytes() && std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

TEST(MpiCommunicator, KnowsItself) {
  EXPECT_EQ(world().rank(), session().rank());
  EXPECT_EQ(world().size(), session().size());
  EXPECT_EQ(world().backend(), "mpi");
  EXPECT_EQ(world().device(), torch::Device(torch::kCPU));
  EXPECT_LT(session().local_rank(), session().local_size());
  EXPECT_LE(session().local_size(), session().size());
  EXPECT_NE(dist::MpiSession::library_version(), "");
}

TEST(MpiCommunicator, ARendezvousOutlastsTheTimeOut) {
  using std::chrono::milliseconds;
  const auto patient = dist::make_mpi_communicator(session(), {milliseconds(300)});
  const auto began = std::chrono::steady_clock::now();
  if (patient->rank() == 0) std::this_thread::sleep_for(milliseconds(900));
  ASSERT_NO_THROW(patient->rendezvous());
  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(300));
  patient->barrier();  // and it can be used as before
}

TEST(MpiCommunicator, ReducesEveryTypeAndSize) {
  for (const auto type : {torch::kFloat32, torch::kFloat64, torch::kInt64, torch::kUInt8})
    for (const auto op : {Reduce::kSum, Reduce::kMax, Reduce::kMin})
      for (const auto size : kSizes) {
        Tensor tensor = values(size, world().rank(), type);
        world().all_reduce(tensor, op)->wait();
        ASSERT_TRUE(torch::equal(tensor, expected(size, world().size(), type, op)))
            << c10::toString(type) << " op " << static_cast<int>(op) << " size " << size;
      }
}

/// In float32 and rank order, rounded once: the same on every rank and, to the bit, by NCCL.
Tensor bfloat16_sum(std::int64_t size, int ranks) {
  Tensor out = random_like(size, 0, torch::kBFloat16).to(torch::kFloat32);
  for (int rank = 1; rank < ranks; ++rank) out += random_like(size, rank, torch::kBFloat16);
  return out.to(torch::kBFloat16);
}

TEST(MpiCommunicator, SumsBfloat16InFloat32AndRoundsOnce) {
  for (const auto size : kSizes) {
    Tensor tensor = random_like(size, world().rank(), torch::kBFloat16);
    world().all_reduce(tensor, Reduce::kSum)->wait();
    ASSERT_TRUE(same_bits(tensor, bfloat16_sum(size, world().size()))) << size;
  }
  // What is not finite stays so: a step that is not finite must be seen.
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double odd : {infinity, -infinity, std::nan("")}) {
    Tensor tensor = torch::full({5}, world().rank() == world().size() - 1 ? odd : 1, torch::kBFloat16);
    world().all_reduce(tensor, Reduce::kSum)->wait();
    EXPECT_FALSE(torch::isfinite(tensor).any().item<bool>()) << odd;
  }
  for (const auto op : {Reduce::kMax, Reduce::kMin})
    EXPECT_THROW((void)world().all_reduce(torch::zeros({5}, torch::kBFloat16), op), dist::CommError);
}

TEST(MpiCommunicator, SumsInRankOrderWhateverArrivesFirst) {
  for (const auto type : {torch::kFloat32, torch::kFloat64})
    for (const std::int64_t size : {5000, 600'001}) {
      Tensor in_order = random_like(size, 0, type);
      for (int rank = 1; rank < world().size(); ++rank) in_order += random_like(size, rank, type);
      for (int late = 0; late < world().size(); ++late) {
        Tensor tensor = random_like(size, world().rank(), type);
        if (world().rank() == late) std::this_thread::sleep_for(std::chrono::milliseconds(3));
        world().all_reduce(tensor, Reduce::kSum)->wait();
        ASSERT_TRUE(same_bits(tensor, in_order)) << size << " late " << late;
      }
    }
}

TEST(MpiCommunicator, SmallSumsHaveTheSameBitsOnEveryRank) {
  for (const std::int64_t size : {1, 100, 3000}) {
    Tensor tensor = random_like(size, world().rank(), torch::kFloat32);
    world().all_reduce(tensor, Reduce::kSum)->wait();
    const auto all = world().gather_bytes({static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()});
    for (const auto& other : all) EXPECT_EQ(other, all[0]) << size;
  }
}

TEST(MpiCommunicator, BroadcastsFromEveryRoot) {
  for (int root = 0; root < world().size(); ++root)
    for (const auto size : kSizes) {
      Tensor tensor = values(size, world().rank(), torch::kFloat32);
      world().broadcast(tensor, root)->wait();
      ASSERT_TRUE(torch::equal(tensor, values(size, root, torch::kFloat32))) << size << " from " << root;
    }
  EXPECT_THROW((void)world().broadcast(torch::zeros({1}), world().size()), dist::CommError);
  EXPECT_THROW((void)world().broadcast(torch::zeros({1}), -1), dist::CommError);
}

TEST(MpiCommunicator, GathersByRank) {
  for (const auto type : {torch::kFloat32, torch::kUInt8})
    for (const auto size : kSizes) {
      Tensor out = torch::zeros({world().size(), size}, type);
      world().all_gather(out, values(size, world().rank(), type))->wait();
      for (int rank = 0; rank < world().size(); ++rank) ASSERT_TRUE(torch::equal(out[rank], values(size, rank, type)));
    }
}

TEST(MpiCommunicator, GathersBytesOfDifferentLengths) {
  const auto bytes_of = [](int rank) {
    // Empty on rank 0, with zero bytes inside elsewhere.
    std::string out(static_cast<std::size_t>(rank) * 70'001, static_cast<char>('a' + rank));
    if (!out.empty()) out[out.size() / 2] = '\0';
    return out;
  };
  const auto all = world().gather_bytes(bytes_of(world().rank()));
  ASSERT_EQ(all.size(), static_cast<std::size_t>(world().size()));
  for (int rank = 0; rank < world().size(); ++rank) EXPECT_EQ(all[static_cast<std::size_t>(rank)], bytes_of(rank));
  for (const auto& empty : world().gather_bytes("")) EXPECT_EQ(empty, "");
}

TEST(MpiCommunicator, BroadcastsBytes) {
  for (int root = 0; root < world().size(); ++root) {
    const std::string mine = "rank " + std::to_string(world().rank()) + std::string(world().rank(), '\0');
    EXPECT_EQ(world().broadcast_bytes(mine, root), "rank " + std::to_string(root) + std::string(root, '\0'));
  }
  EXPECT_EQ(world().broadcast_bytes("", 0), "");
}

TEST(MpiCommunicator, ReducesOnTheHost) {
  const int n = world().size(), rank = world().rank();
  std::vector<double> doubles{rank + 0.5, -1.0 * rank};
  world().all_reduce_host(doubles, Reduce::kSum);
  EXPECT_EQ(doubles, (std::vector<double>{n * (n - 1) / 2 + 0.5 * n, -n * (n - 1) / 2.0}));
  std::vector<std::int64_t> integers{rank, -rank, std::int64_t{1} << 60};
  world().all_reduce_host(integers, Reduce::kMax);
  EXPECT_EQ(integers, (std::vector<std::int64_t>{n - 1, 0, std::int64_t{1} << 60}));
  std::vector<std::int64_t> histogram(5000, rank);
  world().all_reduce_host(histogram, Reduce::kSum);
  EXPECT_EQ(histogram, std::vector<std::int64_t>(5000, n * (n - 1) / 2));
  std::vector<double> nothing;
  world().all_reduce_host(nothing, Reduce::kSum);
  world().barrier();
}

TEST(MpiCommunicator, ManyOperationsInFlightMayBeWaitedForInAnyOrder) {
  constexpr int kWorks = 12;
  std::vector<Tensor> tensors;
  std::vector<std::unique_ptr<dist::Work>> works;
  for (int i = 0; i < kWorks; ++i) {
    tensors.push_back(values(70'000 * (i % 4) + i, world().rank(), torch::kFloat32));
    works.push_back(world().all_reduce(tensors.back(), Reduce::kSum));
  }
  world().barrier();  // a host helper goes on meanwhile
  for (int i = 0; i < kWorks; ++i) {
    // Each rank begins elsewhere: one waits for what another has not come to yet.
    const auto at =
        static_cast<std::size_t>((i * (world().rank() % 2 == 0 ? 1 : kWorks - 1) + world().rank()) % kWorks);
    works[at]->wait();
    EXPECT_TRUE(works[at]->test());
    works[at]->wait();  // again is allowed
  }
  for (int i = 0; i < kWorks; ++i)
    EXPECT_TRUE(torch::equal(tensors[static_cast<std::size_t>(i)],
                             expected(70'000 * (i % 4) + i, world().size(), torch::kFloat32, Reduce::kSum)));
}

TEST(MpiCommunicator, TestMakesProgress) {
  Tensor tensor = values(1 << 20, world().rank(), torch::kFloat32);
  const auto work = world().all_reduce(tensor, Reduce::kSum);
  const auto begin = std::chrono::steady_clock::now();
  while (!work->test()) ASSERT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  EXPECT_TRUE(torch::equal(tensor, expected(1 << 20, world().size(), torch::kFloat32, Reduce::kSum)));
}

TEST(MpiCommunicator, AWorkThatIsDroppedStillTakesPart) {
  { const auto dropped = world().all_reduce(values(1 << 19, world().rank(), torch::kFloat32), Reduce::kSum); }
  Tensor tensor = values(1000, world().rank(), torch::kInt64);
  world().all_reduce(tensor, Reduce::kSum)->wait();
  EXPECT_TRUE(torch::equal(tensor, expected(1000, world().size(), torch::kInt64, Reduce::kSum)));
}

TEST(MpiCommunicator, RefusesTensorsItCannotExchange) {
  const auto error_of = [](const Tensor& tensor) -> std::string {
    try {
      (void)world().all_reduce(tensor, Reduce::kSum);
    } catch (const dist::CommError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_of(torch::zeros({4, 4}).t().slice(0, 0, 2)), "all_reduce: the tensor is not contiguous");
  EXPECT_EQ(error_of({}), "all_reduce: the tensor is undefined");
  EXPECT_EQ(error_of(torch::zeros({2}, torch::kInt32)),
            "all_reduce: the tensor is of type Int; float32, float64, int64, uint8 and bfloat16 can be exchanged");
  EXPECT_EQ(error_of(torch::empty({2}, torch::kMeta)),
            "all_reduce: the tensor is on meta, this communicator takes cpu");
  EXPECT_THROW((void)world().all_gather(torch::zeros({world().size() * 2 + 1}), torch::zeros({2})), dist::CommError);
  EXPECT_THROW((void)world().all_gather(torch::zeros({world().size()}, torch::kFloat64), torch::zeros({1})),
               dist::CommError);
}

TEST(MpiCommunicator, CountsTheTimeItWaitsAndNoOther) {
  world().barrier();
  const auto begin = std::chrono::steady_clock::now();
  const double before = world().waited_seconds();
  constexpr double kLate = 0.1;
  if (world().rank() == 0) std::this_thread::sleep_for(std::chrono::duration<double>(kLate));
  world().barrier();
  const double waited = world().waited_seconds() - before;
  const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (world().rank() == 0) {
    EXPECT_LE(waited, passed - kLate);
  } else {
    EXPECT_GT(waited, kLate / 2);
  }
}

TEST(MpiCommunicator, AnotherThreadIsRefused) {
  const auto own = dist::make_mpi_communicator(session(), {});
  std::string message;
  std::thread([&] {
    try {
      own->barrier();
    } catch (const dist::CommError& error) {
      message = error.what();
    }
  }).join();
  EXPECT_NE(message.find("another thread"), std::string::npos) << message;
  own->barrier();
}

/// Runs `action` on a communicator with a short time-out, on all ranks but the last.
template <class Action>
std::string error_without_last_rank(Action action) {
  std::string message;
  const auto own = dist::make_mpi_communicator(session(), {std::chrono::milliseconds(300)});
  if (world().rank() != world().size() - 1) {
    const auto begin = std::chrono::steady_clock::now();
    try {
      action(*own);
    } catch (const dist::CommError& error) {
      message = error.what();
    }
    const auto took = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(took, std::chrono::milliseconds(300));
    EXPECT_LT(took, std::chrono::seconds(5));
    // What failed once is not to be used again, and says so at once.
    EXPECT_THROW(own->barrier(), dist::CommError);
  }
  world().barrier();
  return message;
}

void expect_parts(const std::string& message, const std::vector<std::string>& parts) {
  if (world().rank() == world().size() - 1) return;
  for (const auto& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message << " lacks " << part;
}

TEST(MpiCommunicator, ALateRankIsATimeOutThatNamesIt) {
  const std::string late = "rank " + std::to_string(world().size() - 1) + ";";
  for (const std::int64_t size : {10'000, 1'000'000})  // both the eager and the rendezvous protocol
    expect_parts(
        error_without_last_rank([&](Communicator& own) { own.all_reduce(torch::zeros({size}), Reduce::kSum)->wait(); }),
        {"all_reduce #0 of " + std::to_string(size * 4) + " bytes, after waiting 0.", " s: time-out: ", late});
  expect_parts(error_without_last_rank([](Communicator& own) { (void)own.gather_bytes("x"); }),
               {"gather_bytes #0 of ", "after waiting 0.", late});
  expect_parts(error_without_last_rank([](Communicator& own) { own.barrier(); }),
               {"barrier #0 of 0 bytes", "another rank is late or gone"});
  expect_parts(error_without_last_rank([](Communicator& own) {
                 std::vector<double> one{1};
                 own.all_reduce_host(one, Reduce::kSum);
               }),
               {"all_reduce_host #0 of 8 bytes"});
}

/// How many elements `from` sends `to`: none for some pairs, also to itself.
std::int64_t sent(int from, int to, std::int64_t scale) { return (from * 2 + to) % 3 * scale + (from == 1 ? 0 : to); }

TEST(MpiCommunicator, ExchangesUnequalPartsBetweenAllPairs) {
  const int n = world().size(), rank = world().rank();
  for (const auto type : {torch::kFloat32, torch::kInt64})
    for (const std::int64_t scale : {0, 1, 1000, 200'000}) {
      std::vector<std::int64_t> in_counts, out_counts;
      std::vector<Tensor> in, wanted;
      for (int peer = 0; peer < n; ++peer) {
        in_counts.push_back(sent(rank, peer, scale)), out_counts.push_back(sent(peer, rank, scale));
        in.push_back(values(in_counts.back(), rank * n + peer, type));
        wanted.push_back(values(out_counts.back(), peer * n + rank, type));
      }
      const Tensor all = torch::cat(wanted);
      Tensor out = torch::full_like(all, -1);
      world().all_to_all(out, out_counts, torch::cat(in), in_counts)->wait();
      ASSERT_TRUE(torch::equal(out, all)) << c10::toString(type) << " scale " << scale;
    }
  const std::vector<std::int64_t> ones(static_cast<std::size_t>(n), 1);
  EXPECT_THROW((void)world().all_to_all(torch::zeros({n + 1}), ones, torch::zeros({n}), ones), dist::CommError);
}

TEST(MpiCommunicator, SplitsIntoCommunicatorsOfTheirOwn) {
  const int n = world().size(), rank = world().rank();
  const auto half = world().split(rank % 2);
  EXPECT_EQ(half->size(), (n + 1 - rank % 2) / 2);
  EXPECT_EQ(half->rank(), rank / 2);
  Tensor sum = torch::full({3}, rank, torch::kInt64);
  // Both at once: neither is taken for the other's.
  Tensor of_all = torch::full({3}, rank, torch::kInt64);
  const auto both = world().all_reduce(of_all, Reduce::kSum), own = half->all_reduce(sum, Reduce::kSum);
  both->wait();
  own->wait();
  std::int64_t wanted = 0;
  for (int r = rank % 2; r < n; r += 2) wanted += r;
  EXPECT_TRUE(sum.eq(wanted).all().item<bool>());
  EXPECT_TRUE(of_all.eq(n * (n - 1) / 2).all().item<bool>());
  EXPECT_EQ(half->gather_bytes(std::to_string(rank)).back(), std::to_string(rank % 2 + 2 * (half->size() - 1)));
}

TEST(MpiCommunicator, DifferentSizesAreAnErrorOnSomeRank) {
  if (world().size() == 1) return;
  const auto own = dist::make_mpi_communicator(session(), {std::chrono::milliseconds(300)});
  std::string message;
  try {
    own->all_gather(torch::zeros({world().size() * (100 + world().rank())}), torch::zeros({100 + world().rank()}))
        ->wait();
  } catch (const dist::CommError& error) {
    message = error.what();
  }
  const auto all = world().gather_bytes(message);
  const auto text = std::accumulate(all.begin(), all.end(), std::string());
  EXPECT_NE(text.find("all_gather #0"), std::string::npos) << text;
  EXPECT_NE(text.find("same job file"), std::string::npos) << text;
}

}  // namespace
}  // namespace decant::multirank
