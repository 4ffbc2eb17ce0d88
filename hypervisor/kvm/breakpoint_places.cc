#include "hypervisor/kvm/breakpoint_places.h"

#include <algorithm>

namespace panicroom::kvm {

BreakpointPlaces place_breakpoints(std::span<const WantedBreakpoint> wanted, std::uint32_t vcpus, std::size_t slots) {
  BreakpointPlaces places;
  places.hardware.resize(vcpus);
  for (const auto& breakpoint : wanted) {
    if (places.software.contains(breakpoint.at)) continue;
    std::vector<std::vector<Gva>*> lacking;
    for (std::uint32_t i = 0; i < vcpus; ++i) {
      if (!breakpoint.vcpus.empty() && !breakpoint.vcpus.contains(VcpuId{i})) continue;
      auto& held = places.hardware[i];
      if (std::find(held.begin(), held.end(), breakpoint.at) == held.end()) lacking.push_back(&held);
    }
    const bool room =
        std::all_of(lacking.begin(), lacking.end(), [&](const auto* held) { return held->size() < slots; });
    if (room) {
      for (auto* held : lacking) held->push_back(breakpoint.at);
      continue;
    }
    // One place for an address: an INT3 that some vCPUs met and others did not would be two kinds of stop.
    for (auto& held : places.hardware) std::erase(held, breakpoint.at);
    places.software.insert(breakpoint.at);
  }
  return places;
}

}  // namespace panicroom::kvm
