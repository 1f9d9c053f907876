#pragma once

#include <memory>

#include "dist/communicator.h"
#include "dist/flight_recorder.h"

namespace decant::dist {

/// `inner`, each of whose collectives is written down in `recorder`, which must outlive it and its works.
[[nodiscard]] std::unique_ptr<Communicator> make_recorded_communicator(std::unique_ptr<Communicator> inner,
                                                                       FlightRecorder& recorder);

}  // namespace decant::dist
