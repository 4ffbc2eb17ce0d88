// The agent in the capture kernel: judges /proc/vmcore and sends what it finds.
#pragma once

#include "agent/guest/channel.h"

namespace panicroom::agent {

inline constexpr const char* kVmcorePath = "/proc/vmcore";

// Whether this is a capture kernel: there is a vmcore, or the command line says that there ought to be one.
bool is_capture_kernel();
// How many CPUs the first kernel's agent said were online; 0: it did not say.
std::uint32_t expected_cpus();

Outcome<> run_capture_kernel(Channel& channel);

}  // namespace panicroom::agent
