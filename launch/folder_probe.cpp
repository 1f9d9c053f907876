#include "launch/folder_probe.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <thread>

#include "base/files.h"
#include "launch/environment.h"

namespace decant::launch {

namespace {

namespace fs = std::filesystem;

fs::path nearest_folder(const fs::path& folder) {
  std::error_code error;
  fs::path at = fs::absolute(folder).lexically_normal();
  while (!fs::is_directory(at, error) && at.has_parent_path() && at != at.parent_path()) at = at.parent_path();
  return at;
}

/// Names of the file systems that runs live on; the numbers are those of statfs(2).
std::string file_system_of(const fs::path& folder) {
  struct Kind {
    std::uint32_t magic;
    const char* name;
  };
  constexpr std::array kKinds{Kind{0xef53, "ext4"},       Kind{0x58465342, "xfs"},     Kind{0x9123683e, "btrfs"},
                              Kind{0x01021994, "tmpfs"},  Kind{0x794c7630, "overlay"}, Kind{0x6969, "nfs"},
                              Kind{0x0bd00bd0, "lustre"}, Kind{0x47504653, "gpfs"},    Kind{0x19830326, "beegfs"},
                              Kind{0x00c36400, "ceph"},   Kind{0x65735546, "fuse"},    Kind{0xff534d42, "cifs"},
                              Kind{0x2fc12fc1, "zfs"}};
  struct statfs found {};
  if (::statfs(folder.c_str(), &found) != 0) return "unknown";
  const auto magic = static_cast<std::uint32_t>(found.f_type);
  for (const Kind& kind : kKinds)
    if (kind.magic == magic) return kind.name;
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "0x%x", magic);
  return text.data();
}

/// Rank 0's file, locked while it lives.
class Probe {
 public:
  explicit Probe(fs::path path) : path_(std::move(path)) {
    descriptor_ = ::open(path_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor_ < 0) {
      why_ = path_.parent_path().string() + ": no file can be made there: " + std::strerror(errno);
    } else if (::write(descriptor_, "decant", 6) != 6 || ::fsync(descriptor_) != 0) {
      why_ = path_.parent_path().string() + ": a file there cannot be written: " + std::strerror(errno);
    } else if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      why_ = path_.parent_path().string() + ": a file there cannot be locked: " + std::strerror(errno) +
             " (Lustre: mount it with -o flock)";
    }
  }
  ~Probe() {
    if (descriptor_ < 0) return;
    ::unlink(path_.c_str());
    ::close(descriptor_);
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  fs::path path_;
  int descriptor_ = -1;
  std::string why_;
};

/// A network file system may show a new file a little later.
int open_patiently(const fs::path& path) {
  constexpr int kTries = 30;
  for (int attempt = 1;; ++attempt) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor >= 0 || errno != ENOENT || attempt == kTries) return descriptor;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void look_for(const fs::path& path, RankFacts& facts) {
  const int descriptor = open_patiently(path);
  facts.sees_probe = descriptor >= 0;
  if (descriptor < 0) return;
  facts.lock_holds = ::flock(descriptor, LOCK_EX | LOCK_NB) != 0;
  ::close(descriptor);
}

}  // namespace

std::string probe_folder(const fs::path& folder, dist::Communicator& communicator, RankFacts& facts) {
  const fs::path here = nearest_folder(folder);
  facts.file_system = file_system_of(here);
  facts.disk_free_mib = static_cast<std::int64_t>(base::free_bytes(here) >> 20);
  // Where rank 0 finds its folder is where all should: a rank with another idea of it is what this looks for.
  const std::string name = communicator.broadcast_bytes(
      (here / (".decant-doctor-" + host_name() + "-" + std::to_string(::getpid()))).string(), 0);
  std::string why;
  {
    std::optional<Probe> probe;
    if (communicator.rank() == 0) probe.emplace(name);
    why = communicator.broadcast_bytes(probe ? probe->why() : "", 0);
    if (why.empty() && communicator.rank() != 0) look_for(name, facts);
    communicator.barrier();
  }
  return why;
}

}  // namespace decant::launch
