#include "launch/diagnosis.h"

#include <gtest/gtest.h>

#include <map>

namespace decant::launch {
namespace {

/// Two ranks of two threads each on a host of four cores, with room for everything.
std::vector<RankFacts> healthy() {
  std::vector<RankFacts> out(2);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    RankFacts& facts = out[rank];
    facts.rank = facts.local_rank = static_cast<std::int64_t>(rank);
    facts.threads = 2;
    facts.host_cores = 4;
    facts.host = "node1";
    facts.cores = rank == 0 ? "0-1" : "2-3";
    facts.build = "0.1.0 (abc, Release)";
    facts.device = "cpu";
    facts.memory_mib = facts.memory_free_mib = 16000;
    facts.shm_mib = facts.shm_free_mib = 8000;
    facts.file_system = "nfs";
    facts.disk_free_mib = 50000;
  }
  return out;
}

std::vector<Finding> found(const std::vector<RankFacts>& ranks, const std::string& launcher = "srun") {
  return diagnose(ranks, {launcher, "/runs/x", true});
}

/// The one finding there is.
Finding only(const std::vector<Finding>& findings) {
  EXPECT_EQ(findings.size(), 1U);
  return findings.empty() ? Finding{} : findings.front();
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Diagnosis, NothingIsWrongWithTheHealthy) { EXPECT_TRUE(found(healthy()).empty()); }

TEST(Diagnosis, ThreadsOnSharedCoresAreCounted) {
  auto ranks = healthy();
  ranks[0].cores = ranks[1].cores = "0-1";
  const Finding finding = only(found(ranks));
  EXPECT_FALSE(finding.is_problem());
  EXPECT_TRUE(has(finding.text, "run 4 threads on 2 cores")) << finding.text;
  // Cores that are shared are fine as long as there is one for each thread.
  ranks[0].threads = ranks[1].threads = 1;
  EXPECT_TRUE(found(ranks).empty());
}

TEST(Diagnosis, MpirunsBindingIsTold) {
  auto ranks = healthy();
  for (RankFacts& rank : ranks) rank.threads = 1, rank.host_cores = 16;
  ranks[0].cores = "0", ranks[1].cores = "1";
  EXPECT_TRUE(has(only(found(ranks, "mpirun")).text, "use 2 of its 16 cores"));
  EXPECT_TRUE(found(ranks, "srun").empty());  // there the allocation decides
}

TEST(Diagnosis, ShortMemoryDiskAndSharedMemoryAreTold) {
  auto ranks = healthy();
  for (RankFacts& rank : ranks) rank.memory_free_mib = 700;
  EXPECT_TRUE(has(only(found(ranks)).text, "700 MiB of memory free for 2 ranks"));
  ranks = healthy();
  for (RankFacts& rank : ranks) rank.shm_free_mib = 64;
  EXPECT_TRUE(has(only(found(ranks)).text, "/dev/shm of node1 has 64 MiB free"));
  ranks.resize(1);  // alone, nobody is exchanged with
  EXPECT_TRUE(found(ranks).empty());
  ranks = healthy();
  for (RankFacts& rank : ranks) rank.disk_free_mib = 100;
  EXPECT_TRUE(has(only(found(ranks)).text, "/runs/x has 100 MiB free on node1"));
}

TEST(Diagnosis, AnotherBuildAndTheSameGpuAreProblems) {
  auto ranks = healthy();
  ranks[1].build = "0.1.0 (def, Release)";
  const Finding build = only(found(ranks));
  EXPECT_EQ(build.code, base::ExitCode::kConfig);
  EXPECT_TRUE(has(build.text, "rank 1 on node1 runs decant 0.1.0 (def, Release), rank 0 0.1.0 (abc")) << build.text;
  ranks = healthy();
  for (RankFacts& rank : ranks) {
    rank.device = "cuda:0", rank.device_id = "11aa";
    rank.device_mib = 80000, rank.device_free_mib = 79000;
  }
  const Finding device = only(found(ranks));
  EXPECT_EQ(device.code, base::ExitCode::kConfig);
  EXPECT_TRUE(has(device.text, "rank 0 on node1 and rank 1 use the same GPU")) << device.text;
}

TEST(Diagnosis, AGpuInUseIsTold) {
  auto ranks = healthy();
  ranks[1].device = "cuda:1", ranks[1].device_id = "22", ranks[1].device_mib = 80000, ranks[1].device_free_mib = 9000;
  EXPECT_TRUE(has(only(found(ranks)).text, "cuda:1 of rank 1 on node1 has 9000 of 80000 MiB free"));
}

TEST(Diagnosis, AClockIsOffOnlyBeyondWhatIsUncertain) {
  auto ranks = healthy();
  ranks[1].host = "node2", ranks[1].local_rank = 0;
  ranks[1].clock_ms = -1500, ranks[1].clock_uncertainty_ms = 0.2;
  EXPECT_TRUE(has(only(found(ranks)).text, "the clock of node2 is -1500 ms off that of node1"));
  ranks[1].clock_uncertainty_ms = 800;
  EXPECT_TRUE(found(ranks).empty());
}

TEST(Diagnosis, ARunFolderMustBeShared) {
  auto ranks = healthy();
  ranks[1].host = "node2", ranks[1].local_rank = 0;
  ranks[1].sees_probe = false;
  const Finding finding = only(found(ranks));
  EXPECT_EQ(finding.code, base::ExitCode::kData);
  EXPECT_TRUE(has(finding.text, "rank 1 on node2 does not see the run folder /runs/x of node1")) << finding.text;
  // Without a job nothing is going to be written.
  EXPECT_FALSE(only(diagnose(ranks, {"srun", "/home/me", false})).is_problem());
  ranks[1].sees_probe = true, ranks[1].lock_holds = false;
  EXPECT_TRUE(has(only(found(ranks)).text, "does not keep node2 out"));
}

TEST(Diagnosis, AloneInAnAllocationForSeveral) {
  std::map<std::string, std::string> values{{"SLURM_NTASKS", "4"}};
  const auto variables = [&](const std::string& name) -> std::optional<std::string> {
    const auto at = values.find(name);
    return at == values.end() ? std::nullopt : std::optional(at->second);
  };
  EXPECT_TRUE(has(only(diagnose_launch(Launcher{}, variables)).text, "srun --mpi=pmix"));
  EXPECT_TRUE(diagnose_launch(Launcher{"mpirun", 4, 0, true}, variables).empty());
  values["SLURM_NTASKS"] = "1";
  EXPECT_TRUE(diagnose_launch(Launcher{}, variables).empty());
}

TEST(RankFacts, SurviveTheirJson) {
  RankFacts facts = healthy()[1];
  facts.lock_holds = false;
  facts.clock_ms = -0.25;
  EXPECT_EQ(to_json(facts_of(to_json(facts))), to_json(facts));
}

}  // namespace
}  // namespace decant::launch
