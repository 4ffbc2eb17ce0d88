#include "harness/director/open_gate.h"

#include "harness/observer/stage_observer.h"

namespace panicroom::harness {

Result<> OpenGate::arm(Gva gate) {
  breakpoint_ = TRY(machine_.add_breakpoint(gate, {}));
  return {};
}

Result<> OpenGate::disarm() {
  if (breakpoint_) TRY(machine_.remove_breakpoint(*breakpoint_));
  breakpoint_.reset();
  return {};
}

// The CPU that lost the compare-and-exchange on panic_cpu goes on as if it had won: the zero flag is what the exchange
// says, EAX what it found there, and PANIC_CPU_INVALID is -1 (kernel/panic.c).
Result<> OpenGate::let_pass(VcpuId vcpu, hypervisor::Registers registers) {
  const bool won = holds(kernels::PointCondition::kZeroFlagSet, registers);
  const bool owner_already = static_cast<std::uint32_t>(registers.rax) == index(vcpu);  // From nmi_panic().
  if (won || owner_already) return {};
  registers.rflags |= hypervisor::kRflagsZf;
  registers.rax = 0xffffffffU;
  journal_.stage("gate-overridden", vcpu, "unfix: panic-gate");
  return machine_.set_registers(vcpu, registers);
}

}  // namespace panicroom::harness
