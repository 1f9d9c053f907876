// One process alone that says nothing and leaves the run folder as it is: for commands that only read.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include "trainer/context.h"

namespace decant::launch {

class Quiet {
 public:
  Quiet(const std::string& command, torch::Device device, int threads);
  ~Quiet();
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
  [[nodiscard]] trainer::Context& context() { return context_; }

 private:
  const std::filesystem::path folder_;  // for a log that nobody reads
  std::unique_ptr<dist::Communicator> communicator_;
  monitoring::Metrics metrics_;
  monitoring::Progress progress_;
  monitoring::RankLog log_;
  trainer::FaultPlan faults_;
  std::atomic<bool> stop_{false};
  trainer::Context context_;
};

}  // namespace decant::launch
