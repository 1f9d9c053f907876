#include "launch/setting.h"

#include "launch/environment.h"
#include "launch/failure.h"

namespace decant::launch {

Setting choose_setting(const trainer::RunOptions& run, Session& session) {
  Setting out;
  agree(session.host(), [&] {
    out.device = choose_device(run.device, session.local_rank(), session.local_size());
    static_cast<void>(dist::nccl_identity());  // throws when it is not LibTorch's, whichever device is used
  });
  const auto everyone = session.host().gather_bytes((out.device.is_cuda() ? "cuda " : "cpu ") + host_name());
  agree(session.host(), [&] {
    for (const std::string& other : everyone)
      if (other.substr(0, other.find(' ')) != everyone.front().substr(0, everyone.front().find(' ')))
        throw base::ConfigError("some ranks see a CUDA device and some do not (" + everyone.front() + ", " + other +
                                "): set 'run.device', or start the ranks elsewhere");
  });
  const auto cores = session.host().gather_bytes(host_name() + " " + allowed_cores());
  out.threads = choose_threads(run.threads, cores, session.rank());
  use_threads(out.threads);
  return out;
}

}  // namespace decant::launch
