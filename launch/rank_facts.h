// What one rank knows of itself and its host, as `decant doctor` gathers it.
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"
#include "launch/session.h"
#include "launch/setting.h"

namespace decant::launch {

struct RankFacts {
  std::int64_t rank = 0, local_rank = 0, threads = 1, host_cores = 1;
  std::string host, cores;  // cores: those it may run on, "0-3,8"
  std::string build;        // decant's version and revision
  std::string device, device_name, device_id;
  std::int64_t device_free_mib = 0, device_mib = 0;
  std::int64_t memory_free_mib = 0, memory_mib = 0;  // of the host, or of the control group that bounds this rank
  std::int64_t shm_free_mib = 0, shm_mib = 0;        // /dev/shm
  double clock_ms = 0, clock_uncertainty_ms = 0;     // its clock minus rank 0's
  // The folder of the run as this rank sees it.
  std::string file_system;  // "ext4", "nfs", ...
  std::int64_t disk_free_mib = 0;
  bool sees_probe = true;  // a file that rank 0 made there
  bool lock_holds = true;  // rank 0's lock on it keeps this rank out
};

/// All but clock and folder. Throws ConfigError when the device cannot be used.
[[nodiscard]] RankFacts rank_facts(const Session& session, const Setting& setting);

/// Every field under its own name.
[[nodiscard]] base::Json to_json(const RankFacts& facts);
[[nodiscard]] RankFacts facts_of(const base::Json& json);

}  // namespace decant::launch
