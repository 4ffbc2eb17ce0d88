// The agent in the kernel under test: loads the capture kernel, starts the workloads, says that it is armed, and then
// sends heartbeats for as long as the kernel lives.
#pragma once

#include "agent/guest/channel.h"

namespace panicroom::agent {

// Returns only with a failure.
Failure run_first_kernel(Channel& channel);

}  // namespace panicroom::agent
