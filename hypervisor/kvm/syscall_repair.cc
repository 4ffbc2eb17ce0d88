// The repair of SYSCALL on a running vCPU (host_quirks.h): a breakpoint at the guest's page fault handler, wherever the
// guest has it now.
#include <array>

#include "hypervisor/kvm/idt_gate.h"
#include "hypervisor/kvm/kvm_machine.h"
#include "hypervisor/kvm/segments.h"

namespace panicroom::kvm {
namespace {

// Intel SDM Vol. 4, table 2-2.
constexpr std::uint32_t kStar = 0xc0000081;
constexpr std::uint32_t kLstar = 0xc0000082;
constexpr std::uint32_t kFmask = 0xc0000084;

constexpr std::uint64_t kPageFaultVector = 14;
constexpr std::uint64_t kSyscallEnable = 1U << 0;  // EFER.SCE

}  // namespace

// Loading the IDT does not end KVM_RUN, so the gate is looked at after whatever does.
Result<> KvmMachine::watch_page_faults(Runner& runner) {
  const auto& sregs = runner.vcpu.run().s.regs.sregs;
  std::optional<Gva> entry;
  if ((sregs.efer & kSyscallEnable) != 0) {
    if (sregs.idt.base != runner.idt_base || !runner.page_fault_gate) {
      runner.idt_base = sregs.idt.base;
      runner.page_fault_gate = TRY(runner.vcpu.translate(Gva{sregs.idt.base + kPageFaultVector * kGateBytes}));
    }
    std::array<std::byte, kGateBytes> gate{};
    if (runner.page_fault_gate && memory_->read(*runner.page_fault_gate, gate)) entry = handler_of(gate);
  }
  if (entry == runner.page_fault_entry) return {};
  runner.page_fault_entry = entry;
  if (runner.task != Task::kRun || runner.passing_page_fault) return {};
  return arm(runner, false);
}

Result<bool> KvmMachine::repair_syscall(Runner& runner) {
  auto regs = TRY(runner.vcpu.regs());
  auto sregs = TRY(runner.vcpu.sregs());
  PageFaultEntry fault;
  std::array<std::uint64_t, 5> frame{};
  if (!read_virtual(runner, Gva{regs.rsp}, std::as_writable_bytes(std::span(frame)))) return false;
  fault.error_code = frame[0];
  fault.rip = frame[1];
  fault.cs = frame[2];
  fault.rsp = frame[4];
  fault.cr2 = sregs.cr2;
  fault.rcx = regs.rcx;
  fault.r11 = regs.r11;
  // Most faults are told from the quirk by this alone.
  if (fault.rip != fault.cr2) return false;
  fault.lstar = TRY(runner.vcpu.msr(kLstar));
  fault.star = TRY(runner.vcpu.msr(kStar));
  fault.fmask = TRY(runner.vcpu.msr(kFmask));
  if (!read_virtual(runner, Gva{regs.rcx - 2}, fault.before_rcx)) fault.before_rcx = {};
  const auto entry = failed_syscall(fault);
  if (!entry) return false;
  sregs.cs = long_mode_code(entry->cs, 0);
  sregs.ss = data_segment(entry->ss, 0);
  regs.rip = entry->rip;
  regs.rsp = entry->rsp;
  regs.rflags = entry->rflags;
  TRY(runner.vcpu.set_sregs(sregs));
  TRY(runner.vcpu.set_regs(regs));
  return true;
}

}  // namespace panicroom::kvm
