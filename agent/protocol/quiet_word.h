// The one word that the host says to the agent of the first kernel, whose port is one-way: be quiet.
#pragma once

#include <cstddef>
#include <cstdint>

namespace panicroom::agent {

// A 32-bit word in the page of the first workload (see Armed.workload_pages), 0 until the host sets it at the jump into
// the capture kernel. A CPU that the crash has not stopped may go on running the agent, whose heartbeats would come
// between the bytes of the capture kernel's agent: both write to one port.
inline constexpr std::size_t kQuietWordOffset = 12;

}  // namespace panicroom::agent
