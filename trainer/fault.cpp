#include "trainer/fault.h"

#include <chrono>
#include <csignal>
#include <stdexcept>
#include <thread>

#include "base/options.h"

namespace decant::trainer {
namespace {

const std::vector<std::string> kPoints{"import-read",       "import-share", "import-write", "import-commit",
                                       "import-record",     "step",         "collective",   "checkpoint-write",
                                       "checkpoint-commit", "label-part",   "label-write",  "label-commit",
                                       "label-manifest",    "report",       "report-write", "report-commit"};
const std::vector<std::string> kActions{"kill", "stop", "hang", "throw", "nan"};

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

FaultPlan::FaultPlan(const std::string& spec, int rank) {
  if (spec.empty()) return;
  const auto wrong = [&](const std::string& why) {
    return base::ConfigError("--fault '" + spec + "': " + why +
                             " (point@step:rank[:kill|stop|hang|throw|nan]; points: " + base::join(kPoints) + ")");
  };
  const auto at = spec.find('@'), colon = spec.find(':', at == std::string::npos ? 0 : at);
  if (at == std::string::npos || colon == std::string::npos) throw wrong("is not point@step:rank");
  const auto second = spec.find(':', colon + 1);
  const std::string rest = second == std::string::npos ? "kill" : spec.substr(second + 1);
  if (!contains(kPoints, spec.substr(0, at))) throw wrong("no such point");
  if (!contains(kActions, rest)) throw wrong("no such action");
  try {
    const int planned = std::stoi(spec.substr(colon + 1, second - colon - 1));
    step_ = std::stoll(spec.substr(at + 1, colon - at - 1));
    if (planned != rank) return;
  } catch (const std::logic_error&) {
    throw wrong("step and rank are numbers");
  }
  point_ = spec.substr(0, at);
  action_ = rest;
}

bool FaultPlan::at(const std::string& point, std::int64_t step) const {
  if (point_ != point || step_ != step) return false;
  if (action_ == "kill") std::raise(SIGKILL);
  if (action_ == "stop") std::raise(SIGSTOP);
  if (action_ == "hang") std::this_thread::sleep_for(std::chrono::hours(24));
  if (action_ == "throw") throw std::runtime_error("planted fault at " + point + " " + std::to_string(step));
  return action_ == "nan";
}

}  // namespace decant::trainer
