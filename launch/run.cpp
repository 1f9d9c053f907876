#include "launch/run.h"

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/environment.h"
#include "launch/failure.h"
#include "launch/signals.h"
#include "launch/stage_command.h"

namespace decant {

int run(int argc, char** argv, trainer::Registries registries) {
  launch::settle_libraries();
  try {
    const auto line = launch::parse_command_line(argc, argv);
    if (launch::is_stage(line.command)) launch::hold_stop_signal();
    return launch::execute(line, registries);
  } catch (const launch::CommonError& error) {
    if (error.speaks()) launch::print_failure(error.what());
    return static_cast<int>(error.code());
  } catch (...) {
    const launch::Failure failure = launch::current_failure();
    launch::print_failure(failure.text);
    return failure.code;
  }
}

}  // namespace decant
