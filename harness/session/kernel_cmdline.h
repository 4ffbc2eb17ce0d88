// The command lines of both kernels: what panicroom itself needs on them, and why.
#pragma once

#include <optional>
#include <string>

#include "harness/scenario/scenario.h"
#include "hypervisor/guest_pace.h"

namespace panicroom::harness {

// Of the kernel under test; the scenario's own words come last, so that they win.
std::string first_cmdline(const MachineSpec& machine, const std::string& extra, From from = From::kArmed,
                          hypervisor::GuestPace pace = {});
// Of the capture kernel. `lend`: its agent is told that the host reads what lies in the guest's memory. `save`: and to
// save the dump.
std::string capture_cmdline(bool lend, const std::optional<SaveDump>& save, hypervisor::GuestPace pace = {});

}  // namespace panicroom::harness
