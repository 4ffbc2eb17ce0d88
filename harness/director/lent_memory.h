// What the guest's agent lends: bytes in the guest's memory that are too many for the agent port (agent.proto, Lent).
#pragma once

#include <cstddef>
#include <vector>

#include "agent/protocol/agent.pb.h"
#include "base/result.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

// At most so many bytes are taken at a time.
inline constexpr std::size_t kMostLent = std::size_t{16} << 20;

// What the message lends; nullptr if it lends nothing.
const agent::v1::Lent* lent(const agent::v1::Message& message);

// The bytes, acknowledged if that is asked for. Only from a stopped machine. kHost if what is claimed cannot be, or if
// the bytes are not those that were lent: then nothing is known of what the agent wanted to say.
Result<std::vector<std::byte>> take_lent(hypervisor::Machine& machine, const agent::v1::Lent& lent);

}  // namespace panicroom::harness
