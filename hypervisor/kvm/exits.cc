// What a vCPU's thread does about each reason for which KVM_RUN came back. All of it under the machine's mutex.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <ctime>

#include "hypervisor/kvm/kvm_machine.h"

namespace panicroom::kvm {
namespace {

constexpr std::byte kInt3{0xcc};
constexpr std::byte kFwait{0x9b};
constexpr std::uint8_t kBreakpointVector = 3;

constexpr std::size_t kMostAccess = 8;

}  // namespace

Result<> KvmMachine::on_exit(Runner& runner) {
  const auto& run = runner.vcpu.run();
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      on_port(runner);
      return {};
    case KVM_EXIT_MMIO:
      on_memory(runner);
      return {};
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
      on_msr(runner);
      return {};
    case KVM_EXIT_HLT:
      return on_halt(runner);
    case KVM_EXIT_DEBUG:
      return on_debug(runner);
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_INTR:
      return {};
    case KVM_EXIT_SHUTDOWN:
      on_reset(hypervisor::GuestReset{});
      return {};
    case KVM_EXIT_INTERNAL_ERROR:
      return on_internal_error(runner);
    case KVM_EXIT_FAIL_ENTRY:
      return host_error("KVM could not enter the guest on vCPU {}: hardware reason {:#x}", runner.id,
                        static_cast<std::uint64_t>(run.fail_entry.hardware_entry_failure_reason));
    default:
      return host_error("KVM_RUN came back on vCPU {} with the exit reason {}, which is none that is expected",
                        runner.id, static_cast<std::uint32_t>(run.exit_reason));
  }
}

void KvmMachine::set_irq_lines() {
  const auto now = devices_.irq_lines();
  for (auto changed = static_cast<unsigned>(now ^ irq_lines_); changed != 0; changed &= changed - 1) {
    const auto line = static_cast<std::uint32_t>(std::countr_zero(changed));
    fabric_->set_pin(line, ((now >> line) & 1U) != 0);
  }
  irq_lines_ = now;
}

void KvmMachine::on_port(Runner& runner) {
  auto& run = runner.vcpu.run();
  auto* data = reinterpret_cast<std::byte*>(&run) + run.io.data_offset;
  const std::size_t width = run.io.size;
  for (std::uint32_t i = 0; i < run.io.count; ++i, data += width) {
    std::uint32_t value = 0;
    if (run.io.direction == KVM_EXIT_IO_OUT) {
      std::memcpy(&value, data, std::min(width, sizeof(value)));
      devices_.out(run.io.port, static_cast<unsigned>(width), value);
    } else {
      value = devices_.in(run.io.port, static_cast<unsigned>(width), static_cast<std::int64_t>(std::time(nullptr)));
      std::memcpy(data, &value, std::min(width, sizeof(value)));
    }
    set_irq_lines();
  }
  take_output();
  if (devices_.power_request() == PowerRequest::kReset) on_reset(hypervisor::GuestReset{});
  if (devices_.power_request() == PowerRequest::kPowerOff) on_reset(hypervisor::GuestShutdown{});
}

// The machine's end, whichever: nothing of it is to run any more.
void KvmMachine::on_reset(hypervisor::Event how) {
  if (!std::exchange(was_reset_, true)) reported_.push_back(std::move(how));
  request_stop();
}

void KvmMachine::on_written(Runner& runner, const InterruptFabric::Written& written) {
  if (written.sent) {
    reported_.emplace_back(hypervisor::IpiSent{*written.sent});
    request_stop();
  }
  if (fabric_->next_due()) clockwork_wake_.notify_one();
  wind_up(runner.id);
}

// The APICs' registers are 32 bits wide, 16 bytes apart. An access of another size is one to the aligned 32 bits around
// it, of which a read gets its part and a write of a part is none (SDM Vol. 3, 11.4.1: it is undefined).
void KvmMachine::on_memory(Runner& runner) {
  auto& run = runner.vcpu.run();
  const Gpa at{run.mmio.phys_addr};
  const auto length = std::min<std::size_t>(run.mmio.len, kMostAccess);
  if (!fabric_->maps(runner.id, at)) {
    if (run.mmio.is_write == 0) std::memset(run.mmio.data, 0xff, length);
    return;
  }
  if (run.mmio.is_write != 0) {
    if (length != sizeof(std::uint32_t)) return;
    std::uint32_t value = 0;
    std::memcpy(&value, run.mmio.data, sizeof(value));
    on_written(runner, fabric_->write(runner.id, at, value, moment_of(runner)));
    return;
  }
  std::array<std::byte, kMostAccess> bytes{};
  const auto within = at.value & 3;
  const auto value = fabric_->read(runner.id, Gpa{at.value - within}, now_of(runner));
  std::memcpy(bytes.data(), &value, sizeof(value));
  for (std::size_t i = 0; i < length; ++i) {
    run.mmio.data[i] = i + within < sizeof(value) ? static_cast<std::uint8_t>(bytes[i + within]) : 0;
  }
}

void KvmMachine::on_msr(Runner& runner) {
  auto& run = runner.vcpu.run();
  run.msr.error = 1;  // #GP
  if (!LocalApic::owns_msr(run.msr.index)) return;
  clock_.refresh(index(runner.id));
  if (run.exit_reason == KVM_EXIT_X86_RDMSR) {
    const auto value = fabric_->read_msr(runner.id, run.msr.index, now_of(runner));
    if (!value) return;
    run.msr.data = *value;
    run.msr.error = 0;
    return;
  }
  const auto written = fabric_->write_msr(runner.id, run.msr.index, run.msr.data, moment_of(runner));
  if (written.general_protection) return;
  run.msr.error = 0;
  on_written(runner, written);
}

Result<> KvmMachine::on_halt(Runner& runner) {
  runner.run.halted = true;
  runner.run.interrupts_on = runner.vcpu.run().if_flag != 0;
  runner.run.nmi_masked = TRY(runner.vcpu.events()).nmi.masked != 0;
  return {};
}

bool KvmMachine::is_wanted(const Runner& runner, Gva at) const {
  return software_.contains(at) ||
         std::find(runner.hardware.begin(), runner.hardware.end(), at) != runner.hardware.end();
}

Result<> KvmMachine::on_debug(Runner& runner) {
  const auto& debug = runner.vcpu.run().debug.arch;
  const Gva at{debug.pc};
  if (runner.task == Task::kStep) {
    runner.stepped = true;
    return {};
  }
  if (runner.page_fault_entry == at && TRY(repair_syscall(runner))) return {};
  if (is_wanted(runner, at)) {
    runner.trapped = true;
    request_stop();
    return {};
  }
  if (runner.page_fault_entry == at) {
    // A page fault that is one: the instruction at the handler's entry is executed with the breakpoint out of its way.
    TRY(arm(runner, true));
    runner.passing_page_fault = true;
    return {};
  }
  if (std::exchange(runner.passing_page_fault, false)) {
    return arm(runner, false);
  }
  // The guest's own INT3 or single step.
  TRY(runner.vcpu.give_back_debug_exception(debug.exception == kBreakpointVector));
  runner.armed.reset();
  return arm(runner, false);
}

Result<> KvmMachine::on_internal_error(Runner& runner) {
  const auto& internal = runner.vcpu.run().internal;
  auto regs = TRY(runner.vcpu.regs());
  std::array<std::byte, 1> opcode{};
  const bool readable = read_virtual(runner, Gva{regs.rip}, opcode);
  if (internal.suberror == KVM_INTERNAL_ERROR_EMULATION && readable) {
    if (opcode[0] == kInt3 && patches_.contains(Gva{regs.rip})) {
      runner.trapped = true;
      request_stop();
      return {};
    }
    if (opcode[0] == kFwait && quirks_.emulates_kernel_code) {
      ++regs.rip;
      return runner.vcpu.set_regs(regs);
    }
    if (opcode[0] == kInt3 && quirks_.emulates_kernel_code) {
      ++regs.rip;
      TRY(runner.vcpu.set_regs(regs));
      auto events = TRY(runner.vcpu.events());
      events.exception.injected = 1;
      events.exception.nr = kBreakpointVector;
      events.exception.has_error_code = 0;
      return runner.vcpu.set_events(events);
    }
  }
  std::string code = "not mapped";
  if (std::array<std::byte, 15> bytes{}; read_virtual(runner, Gva{regs.rip}, bytes)) {
    code.clear();
    for (const auto byte : bytes) code += fmt::format("{}{:02x}", code.empty() ? "" : " ", static_cast<unsigned>(byte));
  }
  return host_error("KVM cannot execute the instruction of vCPU {} at {:#x} (suberror {}; the code there: {})",
                    runner.id, static_cast<std::uint64_t>(regs.rip), static_cast<std::uint32_t>(internal.suberror),
                    code);
}

}  // namespace panicroom::kvm
