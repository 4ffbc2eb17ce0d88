#include "harness/observer/stage_observer.h"

#include <array>
#include <cstring>

namespace panicroom::harness {
namespace {

using hypervisor::BreakpointHit;
using hypervisor::Registers;

// struct pt_regs of x86-64 (arch/x86/include/asm/ptrace.h): 21 words, of which the CPU itself pushed the last five
// (Intel SDM Vol. 3A, 6.14.2).
constexpr std::size_t kPtRegsWords = 21;

hypervisor::Registers from_pt_regs(const std::array<std::uint64_t, kPtRegsWords>& words) {
  return {.rax = words[10],
          .rbx = words[5],
          .rcx = words[11],
          .rdx = words[12],
          .rsi = words[13],
          .rdi = words[14],
          .rbp = words[4],
          .rsp = words[19],
          .r8 = words[9],
          .r9 = words[8],
          .r10 = words[7],
          .r11 = words[6],
          .r12 = words[3],
          .r13 = words[2],
          .r14 = words[1],
          .r15 = words[0],
          .rip = words[16],
          .rflags = words[18]};
}

}  // namespace

bool holds(kernels::PointCondition condition, const Registers& registers) {
  switch (condition) {
    case kernels::PointCondition::kAlways:
      return true;
    case kernels::PointCondition::kZeroFlagSet:
      return (registers.rflags & hypervisor::kRflagsZf) != 0;
    case kernels::PointCondition::kEaxNonZero:
      return static_cast<std::uint32_t>(registers.rax) != 0;
    case kernels::PointCondition::kAlNonZero:
      return static_cast<std::uint8_t>(registers.rax) != 0;
  }
  return false;
}

StageObserver::StageObserver(hypervisor::Machine& machine, const Plan& plan, const RunningKernel& kernel,
                             Journal& journal)
    : machine_(machine), plan_(plan), kernel_(kernel), journal_(journal) {
  truth_.vcpus = machine.vcpus();
  truth_.kernel_release = kernel.image().release();
  truth_.slide = kernel.slide();
}

Result<> StageObserver::arm() {
  for (const PlannedStage& stage : plan_.stages) {
    for (const LinkAddress at : stage.place.at) {
      const auto id = TRY(machine_.add_breakpoint(kernel_.running(at), {}));
      watches_.emplace(id, Watch{stage.kind, stage.place.condition});
    }
  }
  return {};
}

Result<> StageObserver::disarm() {
  for (const auto& [id, watch] : watches_) TRY(machine_.remove_breakpoint(id));
  watches_.clear();
  return {};
}

Result<> StageObserver::record_stop(VcpuId vcpu, const Registers& registers) {
  // crash_nmi_callback(unsigned int val, struct pt_regs *regs): the second argument is in RSI. A CPU that it stops
  // never leaves it; the CPU that jumps may pass it too if an NMI hits it, which the judge knows to leave out of
  // account.
  if (truth_.stopped.contains(vcpu)) return {};
  std::array<std::uint64_t, kPtRegsWords> words{};
  TRY_CONTEXT("reading the registers that the crash NMI interrupted",
              machine_.read_memory(vcpu, {registers.rsi}, std::as_writable_bytes(std::span(words))));
  truth_.stopped[vcpu] = from_pt_regs(words);
  return {};
}

Result<bool> StageObserver::on_breakpoint(const BreakpointHit& hit, const Registers& registers) {
  const auto found = watches_.find(hit.id);
  if (found == watches_.end()) return false;
  if (!holds(found->second.condition, registers)) return true;
  const StageKind kind = found->second.kind;
  std::string note;
  if (kind == StageKind::kStoppedByCrashNmi || kind == StageKind::kStoppedByNmi) {
    note = journal_.last_sender(hit.vcpu, true);
  } else if (kind == StageKind::kStoppedByIrq) {
    note = journal_.last_sender(hit.vcpu, false);
  }
  journal_.stage(name(kind), hit.vcpu, note);
  switch (kind) {
    case StageKind::kPanicEntered:
    case StageKind::kOwnerElected:
    case StageKind::kCrashKexec:
      crashing_ = true;
      break;
    case StageKind::kStoppedByCrashNmi:
      TRY(record_stop(hit.vcpu, registers));
      break;
    case StageKind::kJump:
      jumped_ = true;
      truth_.owner = hit.vcpu;
      break;
    case StageKind::kResetBegun:
      reset_begun_ = true;
      break;
    case StageKind::kStoppedByNmi:
    case StageKind::kStoppedByIrq:
    case StageKind::kStoppedItself:
      break;
  }
  return true;
}

}  // namespace panicroom::harness
