// The gate of panic() held open (`unfix: [panic-gate]`): a kernel from before panic_cpu, in which every CPU that panics
// goes on.
#pragma once

#include <optional>

#include "base/result.h"
#include "harness/observer/journal.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

// Refers to what it is given; both must outlive it. Every call needs a stopped machine.
class OpenGate {
 public:
  OpenGate(hypervisor::Machine& machine, Journal& journal) : machine_(machine), journal_(journal) {}

  // From here on, at the instruction behind the compare-and-exchange on panic_cpu (the point `panic/gate`).
  Result<> arm(Gva gate);
  Result<> disarm();
  [[nodiscard]] bool owns(hypervisor::BreakpointId id) const { return id == breakpoint_; }
  // For a CPU that has hit the breakpoint with these registers.
  Result<> let_pass(VcpuId vcpu, hypervisor::Registers registers);

 private:
  hypervisor::Machine& machine_;
  Journal& journal_;
  std::optional<hypervisor::BreakpointId> breakpoint_;
};

}  // namespace panicroom::harness
