// Whether a machine has come to an end of which no one has to wait to be sure: every vCPU that may run takes no
// interrupts, and either waits in HLT or goes round in a loop that leaves everything as it was.
#pragma once

#include "base/result.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

enum class Standstill {
  kNone,     // Some vCPU may still go on.
  kHalted,   // All have halted with interrupts off.
  kSpinning  // At least one spins; the others spin, or have halted.
};

// Held vCPUs do not count. Only an NMI could end such a state, so it is one only where nothing outside is about to send
// any. The machine is stopped; vCPUs that spin are left some passes further on.
Result<Standstill> standstill(hypervisor::Machine& machine);

// The vCPU comes back to a state that it was in, having written nothing to memory that was not there already: so it
// does the same for ever, unless an interrupt or another CPU's write to memory ends it. A loop that measures time or
// counts is none of this kind. Executes some instructions of the vCPU, while all others stand still.
Result<bool> spins_for_ever(hypervisor::Machine& machine, VcpuId vcpu);

}  // namespace panicroom::harness
