#pragma once

#include <string>

#include "dist/communicator.h"

namespace decant::launch {

/// Collective. Throws CommonError on all ranks when `text` is not the same on all of them: names the first two ranks that
/// differ and the first line in which they do. `what`: "jobs".
void require_same(dist::Communicator& communicator, const std::string& what, const std::string& text);

}  // namespace decant::launch
