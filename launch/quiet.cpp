#include "launch/quiet.h"

#include <unistd.h>

namespace decant::launch {

Quiet::Quiet(const std::string& command, torch::Device device, int threads)
    : folder_(std::filesystem::temp_directory_path() / ("decant-" + command + "-" + std::to_string(::getpid()))),
      communicator_(dist::make_single_communicator(device)),
      metrics_(command, 0),
      progress_(stderr, false),
      log_(folder_, 0),
      context_{*communicator_, metrics_, progress_, log_, faults_, stop_, threads} {}

Quiet::~Quiet() {
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

}  // namespace decant::launch
