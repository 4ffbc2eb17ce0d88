// What a step does to a vCPU, as changes of its registers and memory: the same on every engine.
// All of them need a stopped machine, and leave it stopped.
#pragma once

#include <string_view>

#include "base/address.h"
#include "base/result.h"
#include "harness/observer/running_kernel.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

// The vCPU calls panic("%s", message) where it stands, as if the instruction at RIP had been preceded by the call: the
// return address is its present RIP. The CPU must be in kernel mode (kInvalidInput).
Result<> inject_panic(hypervisor::Machine& machine, VcpuId vcpu, Gva panic, std::string_view message);

// The vCPU calls address 0 in kernel mode: the kernel sees a NULL pointer dereference in an instruction fetch.
Result<> inject_oops(hypervisor::Machine& machine, VcpuId vcpu);

// The vCPU goes on behind the instruction at RIP without executing it.
Result<> skip_instruction(hypervisor::Machine& machine, VcpuId vcpu);

// Gives the word to the process that waits for it with the page at `page` (agent/protocol/start_page.h): number
// `number` of those that were configured, on `vcpu`. kHost, with nothing written, if that page is not this process's.
Result<> start_workload(hypervisor::Machine& machine, VcpuId vcpu, Gpa page, std::uint32_t number);

// A window in which the vCPU spins at `loop`, with IF clear or as it was, until close() puts it back.
class SpinWindow {
 public:
  enum class Interrupts { kOff, kAsTheyAre };
  static Result<SpinWindow> open(hypervisor::Machine& machine, VcpuId vcpu, Gva loop, Interrupts interrupts);

  [[nodiscard]] VcpuId vcpu() const { return vcpu_; }
  [[nodiscard]] Gva loop() const { return loop_; }
  // If the vCPU, which stands at the loop, is there for the window and not on its own account (a kernel function may
  // own the loop), it goes on as before the window. False, with nothing changed, if not. A handler that it has gone
  // into meanwhile has to be left first.
  Result<bool> close(hypervisor::Machine& machine);

 private:
  SpinWindow(VcpuId vcpu, Gva loop, const hypervisor::Registers& before)
      : vcpu_(vcpu), loop_(loop), rip_(before.rip), rflags_(before.rflags), rsp_(before.rsp) {}

  VcpuId vcpu_;
  Gva loop_;
  std::uint64_t rip_;
  std::uint64_t rflags_;
  std::uint64_t rsp_;
};

}  // namespace panicroom::harness
