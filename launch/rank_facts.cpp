#include "launch/rank_facts.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>
#include <type_traits>

#include "launch/device_facts.h"
#include "launch/environment.h"
#include "launch/version.h"

namespace decant::launch {

namespace {

namespace fs = std::filesystem;

/// The one list of fields: `use(name, field)` for each. `Facts` is RankFacts or const RankFacts.
template <class Facts, class Use>
void for_each_field(Facts& facts, Use use) {
  use("rank", facts.rank);
  use("local_rank", facts.local_rank);
  use("threads", facts.threads);
  use("host_cores", facts.host_cores);
  use("host", facts.host);
  use("cores", facts.cores);
  use("build", facts.build);
  use("device", facts.device);
  use("device_name", facts.device_name);
  use("device_id", facts.device_id);
  use("device_free_mib", facts.device_free_mib);
  use("device_mib", facts.device_mib);
  use("memory_free_mib", facts.memory_free_mib);
  use("memory_mib", facts.memory_mib);
  use("shm_free_mib", facts.shm_free_mib);
  use("shm_mib", facts.shm_mib);
  use("clock_ms", facts.clock_ms);
  use("clock_uncertainty_ms", facts.clock_uncertainty_ms);
  use("file_system", facts.file_system);
  use("disk_free_mib", facts.disk_free_mib);
  use("sees_probe", facts.sees_probe);
  use("lock_holds", facts.lock_holds);
}

struct Memory {
  std::int64_t free_mib = 0, total_mib = 0;
};

Memory host_memory() {
  Memory out;
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    std::int64_t kib = 0;
    words >> name >> kib;
    if (name == "MemTotal:") out.total_mib = kib >> 10;
    if (name == "MemAvailable:") out.free_mib = kib >> 10;
  }
  return out;
}

/// The number in a file of a control group; nothing where there is no such file or it says "max".
std::optional<std::int64_t> number_in(const fs::path& path) {
  std::ifstream in(path);
  std::int64_t value = 0;
  if (!(in >> value)) return std::nullopt;
  return value;
}

/// Slurm and containers bound a job's memory by a control group (version 2) above the process.
void bound_by_groups(Memory& memory) {
  const fs::path root = "/sys/fs/cgroup";
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("0::/")) continue;
    fs::path group = root / line.substr(4);
    for (; group.string().size() >= root.string().size(); group = group.parent_path()) {
      const auto most = number_in(group / "memory.max"), used = number_in(group / "memory.current");
      if (!most || !used) continue;
      memory.total_mib = std::min(memory.total_mib, *most >> 20);
      memory.free_mib = std::min(memory.free_mib, std::max<std::int64_t>(0, *most - *used) >> 20);
    }
  }
}

Memory memory_here() {
  Memory out = host_memory();
  bound_by_groups(out);
  return out;
}

Memory shared_memory_here() {
  struct statvfs found {};
  if (::statvfs("/dev/shm", &found) != 0) return {};
  const auto mib = [&](fsblkcnt_t blocks) { return static_cast<std::int64_t>(blocks * found.f_frsize >> 20); };
  return {mib(found.f_bavail), mib(found.f_blocks)};
}

}  // namespace

RankFacts rank_facts(const Session& session, const Setting& setting) {
  RankFacts out;
  out.rank = session.rank();
  out.local_rank = session.local_rank();
  out.threads = setting.threads;
  out.host = host_name();
  out.cores = allowed_cores();
  out.host_cores = std::max<std::int64_t>(1, std::thread::hardware_concurrency());
  out.build = build_text();
  const DeviceFacts device = device_facts(setting.device);
  out.device = setting.device.str();
  out.device_name = device.name;
  out.device_id = device.id;
  out.device_free_mib = device.free_mib;
  out.device_mib = device.total_mib;
  const Memory memory = memory_here(), shared = shared_memory_here();
  out.memory_free_mib = memory.free_mib;
  out.memory_mib = memory.total_mib;
  out.shm_free_mib = shared.free_mib;
  out.shm_mib = shared.total_mib;
  return out;
}

base::Json to_json(const RankFacts& facts) {
  base::Json out = base::Json::object();
  for_each_field(facts, [&](const char* name, const auto& field) { out[name] = field; });
  return out;
}

RankFacts facts_of(const base::Json& json) {
  RankFacts out;
  for_each_field(out, [&](const char* name, auto& field) {
    field = json.at(name).get<std::remove_reference_t<decltype(field)>>();
  });
  return out;
}

}  // namespace decant::launch
