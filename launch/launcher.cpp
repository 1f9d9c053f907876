#include "launch/launcher.h"

#include <charconv>
#include <cstdlib>

#include "base/errors.h"

namespace decant::launch {

namespace {

std::optional<int> number(const Variables& variables, const std::string& name) {
  const auto text = variables(name);
  if (!text) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

/// salloc gives its shell a step with this number, 0xfffffffa, on clusters with `use_interactive_step`.
constexpr const char* kInteractiveStep = "4294967290";

bool in_srun_step(const Variables& variables) {
  const auto step = variables("SLURM_STEP_ID");
  return step && *step != kInteractiveStep && variables("SLURM_PROCID");
}

}  // namespace

Variables process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

Launcher detect_launcher(const Variables& variables) {
  // mpirun first: inside sbatch its tasks inherit Slurm's variables, which tell of the batch step.
  if (const auto tasks = number(variables, "OMPI_COMM_WORLD_SIZE"))
    return {"mpirun", *tasks, number(variables, "OMPI_COMM_WORLD_RANK").value_or(0), true};
  const bool pmix = variables("PMIX_RANK").has_value();
  if (in_srun_step(variables)) {
    // The step's own number: SLURM_NTASKS may be that of the allocation.
    const int tasks = number(variables, "SLURM_STEP_NUM_TASKS").value_or(number(variables, "SLURM_NTASKS").value_or(1));
    return {"srun", tasks, number(variables, "SLURM_PROCID").value_or(0), pmix};
  }
  if (pmix) return {"a PMIx launcher", 1, number(variables, "PMIX_RANK").value_or(0), true};
  // Hydra, the launcher of MPICH and Intel MPI, speaks another protocol than Open MPI.
  if (const auto tasks = number(variables, "PMI_SIZE"))
    return {"another MPI's mpirun", *tasks, number(variables, "PMI_RANK").value_or(0), false};
  return {};
}

void check_world(const Launcher& launcher, int mpi_size) {
  const bool before = mpi_size == 0;
  if (launcher.tasks <= 1 || (before ? launcher.offers_mpi : mpi_size >= launcher.tasks)) return;
  const std::string cure =
      launcher.name == "srun"
          ? "start it by `srun --mpi=pmix`, or by mpirun inside the allocation"
          : "start it by the mpirun of the Open MPI that decant was built with (`decant --version`)";
  throw base::ConfigError(launcher.name + " started " + std::to_string(launcher.tasks) + " tasks, but MPI sees " +
                          std::to_string(before ? 1 : mpi_size) + ": each would do the whole job by itself; " + cure);
}

}  // namespace decant::launch
