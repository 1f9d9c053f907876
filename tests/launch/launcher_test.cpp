#include "launch/launcher.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/errors.h"

namespace decant::launch {
namespace {

Launcher detect(const std::map<std::string, std::string>& values) {
  return detect_launcher([&](const std::string& name) -> std::optional<std::string> {
    const auto at = values.find(name);
    return at == values.end() ? std::nullopt : std::optional(at->second);
  });
}

std::string refusal(const Launcher& launcher, int mpi_size) {
  try {
    check_world(launcher, mpi_size);
  } catch (const base::ConfigError& error) {
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Launcher, AloneThereIsNoMpi) {
  const Launcher alone = detect({});
  EXPECT_FALSE(alone.offers_mpi);
  EXPECT_EQ(alone.tasks, 1);
  EXPECT_EQ(refusal(alone, 0), "");
}

TEST(Launcher, MpirunTellsByItsOwnVariables) {
  const Launcher mpirun = detect({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}, {"PMIX_RANK", "3"}});
  EXPECT_TRUE(mpirun.offers_mpi);
  EXPECT_EQ(mpirun.tasks, 4);
  EXPECT_EQ(mpirun.task, 3);
  EXPECT_EQ(refusal(mpirun, 0), "");
  EXPECT_EQ(refusal(mpirun, 4), "");
  EXPECT_TRUE(has(refusal(mpirun, 1), "mpirun started 4 tasks, but MPI sees 1")) << refusal(mpirun, 1);
}

TEST(Launcher, MpirunInsideSbatchGoesBeforeSlurm) {
  const Launcher mpirun = detect({{"OMPI_COMM_WORLD_SIZE", "2"}, {"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}});
  EXPECT_EQ(mpirun.name, "mpirun");
  EXPECT_EQ(mpirun.tasks, 2);
}

TEST(Launcher, SrunWithPmix) {
  const Launcher srun =
      detect({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}, {"PMIX_RANK", "1"}});
  EXPECT_EQ(srun.name, "srun");
  EXPECT_TRUE(srun.offers_mpi);
  EXPECT_EQ(refusal(srun, 0), "");
  EXPECT_EQ(refusal(srun, 2), "");
}

TEST(Launcher, SrunWithoutPmixIsRefusedBeforeMpi) {
  const Launcher srun = detect({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}});
  EXPECT_FALSE(srun.offers_mpi);
  EXPECT_TRUE(has(refusal(srun, 0), "srun --mpi=pmix")) << refusal(srun, 0);
}

TEST(Launcher, AStepOfOneTaskIsAloneWhateverTheAllocation) {
  const Launcher srun =
      detect({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_STEP_NUM_TASKS", "1"}});
  EXPECT_EQ(srun.tasks, 1);
  EXPECT_EQ(refusal(srun, 0), "");
}

TEST(Launcher, AnSbatchShellIsAlone) {
  // What Slurm 22.05 sets in a batch script: no step, PROCID 0, NTASKS of the allocation.
  const Launcher shell = detect({{"SLURM_JOB_ID", "7"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}});
  EXPECT_EQ(shell.name, "");
  EXPECT_EQ(refusal(shell, 0), "");
}

TEST(Launcher, AnInteractiveSallocShellIsAlone) {
  const Launcher shell = detect({{"SLURM_STEP_ID", "4294967290"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}});
  EXPECT_EQ(shell.name, "");
}

TEST(Launcher, AnotherMpisLauncherIsRefused) {
  const Launcher hydra = detect({{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}});
  EXPECT_EQ(hydra.task, 1);
  EXPECT_TRUE(has(refusal(hydra, 0), "Open MPI that decant was built with")) << refusal(hydra, 0);
  EXPECT_EQ(refusal(detect({{"PMI_SIZE", "1"}}), 0), "");
}

TEST(Launcher, OtherPmixLaunchersOfferMpi) { EXPECT_TRUE(detect({{"PMIX_RANK", "0"}}).offers_mpi); }

}  // namespace
}  // namespace decant::launch
