#include "launch/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "launch/environment.h"

namespace decant::launch {

namespace {

using base::ExitCode;
using Ranks = std::vector<const RankFacts*>;

constexpr std::int64_t kLeastMemoryMib = 512;  // a rank; the program and LibTorch alone take 200 to 350
constexpr std::int64_t kLeastSharedMib = 64;   // a rank; what containers give to all of them together
constexpr std::int64_t kLeastDiskMib = 1024;
constexpr double kMostClockMs = 1000;
constexpr double kLeastFreeShare = 0.9;  // of a device's memory: the driver and the CUDA context take some

std::string number(std::int64_t value) { return std::to_string(value); }

std::string place(const RankFacts& rank) { return "rank " + number(rank.rank) + " on " + rank.host; }

std::map<std::string, Ranks> by_host(const std::vector<RankFacts>& ranks) {
  std::map<std::string, Ranks> out;
  for (const RankFacts& rank : ranks) out[rank.host].push_back(&rank);
  return out;
}

std::set<int> cores_of(const std::string& list) {
  std::set<int> out;
  std::istringstream in(list);
  for (std::string range; std::getline(in, range, ',');) {
    const std::size_t dash = range.find('-');
    const int first = std::stoi(range), last = dash == std::string::npos ? first : std::stoi(range.substr(dash + 1));
    for (int core = first; core <= last; ++core) out.insert(core);
  }
  return out;
}

class Diagnosis {
 public:
  explicit Diagnosis(const Surroundings& surroundings) : surroundings_(surroundings) {}

  void host(const std::string& name, const Ranks& ranks) {
    cores(name, ranks);
    const auto count = static_cast<std::int64_t>(ranks.size());
    const RankFacts& first = *ranks.front();
    if (first.memory_free_mib < kLeastMemoryMib * count)
      warn(name + " has " + number(first.memory_free_mib) + " MiB of memory free for " + number(count) +
           " ranks: a rank begins at about " + number(kLeastMemoryMib) +
           " MiB; take fewer ranks or ask for more memory");
    if (count > 1 && first.shm_free_mib < kLeastSharedMib * count)
      warn("/dev/shm of " + name + " has " + number(first.shm_free_mib) + " MiB free for " + number(count) +
           " ranks, which exchange by way of it: make it larger (a container's --shm-size=1g), or free it");
  }

  void rank(const RankFacts& rank, const RankFacts& first) {
    if (rank.build != first.build)
      refuse(ExitCode::kConfig, place(rank) + " runs decant " + rank.build + ", rank 0 " + first.build +
                                    ": install the same one on all hosts");
    if (rank.device_mib > 0 &&
        static_cast<double>(rank.device_free_mib) < kLeastFreeShare * static_cast<double>(rank.device_mib))
      warn(rank.device + " of " + place(rank) + " has " + number(rank.device_free_mib) + " of " +
           number(rank.device_mib) + " MiB free: another process uses it (`nvidia-smi`)");
    if (std::abs(rank.clock_ms) - rank.clock_uncertainty_ms > kMostClockMs)
      warn("the clock of " + rank.host + " is " + number(std::llround(rank.clock_ms)) + " ms off that of " +
           first.host + ": times in logs and of files do not compare; let both follow a time server");
    folder(rank, first);
  }

  void devices(const std::vector<RankFacts>& ranks) {
    std::map<std::string, const RankFacts*> users;
    for (const RankFacts& rank : ranks) {
      if (rank.device_id.empty()) continue;
      if (const auto [at, fresh] = users.emplace(rank.device_id, &rank); !fresh)
        refuse(ExitCode::kConfig, place(*at->second) + " and rank " + number(rank.rank) +
                                      " use the same GPU: start at most as many ranks a host as it has GPUs");
    }
  }

  [[nodiscard]] std::vector<Finding> findings() && { return std::move(findings_); }

 private:
  void warn(const std::string& text) { findings_.push_back({ExitCode::kOk, text}); }
  void refuse(ExitCode code, const std::string& text) { findings_.push_back({code, text}); }

  void cores(const std::string& name, const Ranks& ranks) {
    std::set<int> all;
    std::int64_t threads = 0, alone = 0;
    for (const RankFacts* rank : ranks) {
      const std::set<int> own = cores_of(rank->cores);
      all.insert(own.begin(), own.end());
      threads += rank->threads;
      alone += static_cast<std::int64_t>(own.size());
    }
    const auto count = static_cast<std::int64_t>(all.size());
    const auto ranks_text = number(static_cast<std::int64_t>(ranks.size())) + " ranks of " + name;
    if (alone > count && threads > count && threads > static_cast<std::int64_t>(ranks.size()))
      warn("the " + ranks_text + " run " + number(threads) + " threads on " + number(count) +
           " cores that they share: leave run.threads at 0, or give each rank cores of its own (mpirun --map-by "
           "slot:PE=N, srun --cpus-per-task=N)");
    else if (alone > count && static_cast<std::int64_t>(ranks.size()) > count)
      warn("the " + ranks_text + " share " + number(count) + " cores: fewer ranks would be as fast");
    const std::int64_t host_cores = ranks.front()->host_cores;
    if (surroundings_.launcher == "mpirun" && threads * 2 <= host_cores)
      warn("the " + ranks_text + " use " + number(threads) + " of its " + number(host_cores) +
           " cores: mpirun binds each rank to one; --bind-to none, or --map-by slot:PE=N");
  }

  void folder(const RankFacts& rank, const RankFacts& first) {
    const std::string what = (surroundings_.is_run_folder ? "the run folder " : "the folder ") + surroundings_.folder;
    if (!rank.sees_probe) {
      const std::string text = place(rank) + " does not see " + what + " of " + first.host +
                               ": all ranks need one file system that they share";
      if (surroundings_.is_run_folder)
        refuse(ExitCode::kData, text);
      else
        warn(text);
    } else if (!rank.lock_holds) {
      warn("a lock on " + what + " (" + rank.file_system + ") that " + first.host + " holds does not keep " +
           rank.host + " out: two jobs could write the same run; mount it with locks between hosts");
    }
    const bool first_of_host = rank.local_rank == 0;
    if (first_of_host && rank.disk_free_mib < kLeastDiskMib)
      warn(what + " has " + number(rank.disk_free_mib) + " MiB free on " + rank.host +
           ": checkpoints and labels may not fit (`--dry-run` says what they take)");
  }

  const Surroundings& surroundings_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> diagnose(const std::vector<RankFacts>& ranks, const Surroundings& surroundings) {
  Diagnosis out(surroundings);
  for (const auto& [name, those] : by_host(ranks)) out.host(name, those);
  for (const RankFacts& rank : ranks) out.rank(rank, ranks.front());
  out.devices(ranks);
  return std::move(out).findings();
}

std::vector<Finding> diagnose_launch(const Launcher& launcher, const Variables& variables) {
  const auto tasks = variables("SLURM_NTASKS");
  if (!launcher.name.empty() || !tasks || *tasks == "1") return {};
  return {{ExitCode::kOk, "this process was started alone inside an allocation for " + *tasks +
                              " tasks: start it by `srun --mpi=pmix`, or by mpirun"}};
}

}  // namespace decant::launch
