// Chooses the engine that runs the guests, and makes its machines.
#pragma once

#include <string>

#include "base/result.h"
#include "harness/session/armed_machine.h"
#include "hypervisor/guest_pace.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

struct Engine {
  std::string name;  // For the report: "qemu (tcg)".
  MachineFactory factory;
  hypervisor::GuestPace pace = {};
};

// `wanted` is the command line's word: "auto" takes the best that was measured, "qemu" that engine however it runs best
// here, "kvm" panicroom's own. Measures the host, says what was found in `host`, and ends the guests that a killed
// process has left behind. kUnsupported for "kvm" on a host that has none, kHost for an engine that does not work on
// this host.
Result<Engine> make_engine(const std::string& wanted, v1::Host& host);

// Ends the guests that a killed process has left behind, which make_engine() does as well. Safe beside living
// processes.
Result<> end_leftovers();

}  // namespace panicroom::harness
