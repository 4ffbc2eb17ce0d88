// Where breakpoints are put: in the debug registers of the vCPUs that they are for while these have room, else as an
// INT3 in the code, which all vCPUs pass. A pure function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/address.h"

namespace panicroom::kvm {

struct WantedBreakpoint {
  Gva at;
  std::set<VcpuId> vcpus;  // Empty: all.
};

struct BreakpointPlaces {
  std::vector<std::vector<Gva>> hardware;  // For each vCPU; at most as many as it has slots.
  std::set<Gva> software;
};

// Earlier ones get the debug registers. Several at one address need one place.
BreakpointPlaces place_breakpoints(std::span<const WantedBreakpoint> wanted, std::uint32_t vcpus, std::size_t slots);

}  // namespace panicroom::kvm
