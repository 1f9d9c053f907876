// In a build without CUDA there is nothing to ask.
#ifndef DECANT_WITH_CUDA

#include "launch/device_facts.h"

namespace decant::launch {

DeviceFacts device_facts(const c10::Device&) { return {}; }

}  // namespace decant::launch

#endif
