// What a vCPU's thread does, and the clockwork's.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

#include "hypervisor/kvm/idt_gate.h"
#include "hypervisor/kvm/kvm_machine.h"
#include "hypervisor/kvm/segments.h"
#include "hypervisor/kvm/vcpu_signal.h"

namespace panicroom::kvm {

using hypervisor::Clock;

Now KvmMachine::now_of(const Runner& runner) const { return clock_.now(index(runner.id)); }
Moment KvmMachine::moment_of(const Runner& runner) const { return {now_of(runner), Clock::now()}; }

// A vCPU in the guest comes out; one that is on its way in finds immediate_exit. One that waits looks again.
void KvmMachine::kick(Runner& runner) {
  if (runner.in_guest) {
    runner.vcpu.run().immediate_exit = 1;
    ::pthread_kill(runner.thread.native_handle(), vcpu_signal());
  }
  runner.wake.notify_one();
}

void KvmMachine::kick_woken() {
  for (const auto vcpu : fabric_->take_woken()) kick(runner(vcpu));
}

void KvmMachine::request_stop() {
  if (!running_ || stopping_) return;
  stopping_ = true;
  stop_deadline_ = Clock::now() + options_.patience;
  clock_.stop();
  for (auto& runner : runners_) {
    if (runner->task == Task::kRun) runner->task = Task::kPark;
    kick(*runner);
  }
}

void KvmMachine::loop(Runner& runner) {
  Lock lock(mutex_);
  for (;;) {
    runner.wake.wait(lock, [&] { return runner.task != Task::kPark; });
    if (runner.task == Task::kQuit) return;
    runner.parked = false;
    auto done = runner.task == Task::kStep ? step_here(runner, lock) : run_here(runner, lock);
    if (done) done = finish(runner);
    if (done) done = take_back_interrupts(runner);
    if (!done) {
      lose(done.error());
      request_stop();
    }
    if (runner.task != Task::kQuit) runner.task = Task::kPark;
    runner.parked = true;
    parked_.notify_all();
    notify();
  }
}

// KVM_RUN without the mutex; the exit, if there was one, is dealt with under it.
Result<> KvmMachine::enter(Runner& runner, Lock& lock) {
  auto& run = runner.vcpu.run();
  run.immediate_exit = 0;
  run.kvm_valid_regs = quirks_.syscall_keeps_user_segments ? KVM_SYNC_X86_SREGS : 0;
  runner.in_guest = true;
  lock.unlock();
  const auto entry = runner.vcpu.enter();
  lock.lock();
  runner.in_guest = false;
  exits_.fetch_add(1, std::memory_order_relaxed);
  if (!entry) return entry.error();
  fabric_->apic(runner.id).set_cr8(run.cr8);
  if (quirks_.syscall_keeps_user_segments) TRY(watch_page_faults(runner));
  if (*entry == Vcpu::Entry::kInterrupted) return {};
  return on_exit(runner);
}

bool KvmMachine::wakes(const Runner& runner) const {
  const auto& apic = fabric_->apic(runner.id);
  return apic.init_pending() || (apic.nmi_pending() && !runner.run.nmi_masked) ||
         (runner.run.interrupts_on && apic.deliverable().has_value());
}

Result<> KvmMachine::run_here(Runner& runner, Lock& lock) {
  auto& apic = fabric_->apic(runner.id);
  runner.passing_page_fault = false;
  TRY(arm(runner, false));
  // The caller may have changed the flags that run() shows.
  TRY(finish(runner));
  if (runner.run.halted) {
    runner.run.interrupts_on = runner.vcpu.run().if_flag != 0;
    runner.run.nmi_masked = TRY(runner.vcpu.events()).nmi.masked != 0;
  }
  while (runner.task == Task::kRun) {
    fabric_->advance(runner.id, now_of(runner));
    if (apic.take_init()) {
      // The bootstrap processor begins at the reset vector then, where there is no firmware (SDM Vol. 3A, 8.4.1).
      if (apic.bootstrap()) {
        on_reset(hypervisor::GuestReset{});
      } else {
        TRY(reset_vcpu(runner, std::nullopt));
      }
      continue;
    }
    if (apic.state() == ProcessorState::kWaitForSipi) {
      const auto startup = apic.take_startup();
      if (startup) {
        TRY(reset_vcpu(runner, startup));
      } else {
        runner.wake.wait(lock);
      }
      continue;
    }
    if (runner.run.halted) {
      if (!wakes(runner)) {
        runner.wake.wait(lock);
        continue;
      }
      runner.run.halted = false;
    }
    if (!runner.passing_page_fault) TRY(let_in_interrupts(runner));
    TRY(enter(runner, lock));
    kick_woken();
  }
  return {};
}

// One instruction, or one iteration of a repeated one, or the way into an exception's handler. No interrupt comes
// between, because none is let in.
Result<> KvmMachine::step_here(Runner& runner, Lock& lock) {
  TRY(finish(runner));
  if (TRY(step_into_halt(runner))) return {};
  TRY(arm(runner, true));
  runner.stepped = false;
  auto& run = runner.vcpu.run();
  run.request_interrupt_window = 0;
  run.cr8 = fabric_->apic(runner.id).cr8();
  while (runner.task == Task::kStep && !runner.stepped && !runner.run.halted && !was_reset_) {
    TRY(enter(runner, lock));
  }
  return {};
}

// HLT does nothing but wait, so it needs no KVM; and KVM's emulator, in a single step, reports the step and then, an
// instruction later, the HLT.
Result<bool> KvmMachine::step_into_halt(Runner& runner) {
  constexpr std::array kHlt{std::byte{0xf4}};
  const auto registers = TRY(runner.vcpu.registers());
  std::array<std::byte, 1> opcode{};
  if (hypervisor::cpl(registers) != 0 || !read_virtual(runner, Gva{registers.rip}, opcode) || opcode != kHlt) {
    return false;
  }
  auto regs = TRY(runner.vcpu.regs());
  ++regs.rip;
  regs.rflags &= ~hypervisor::kRflagsRf;
  TRY(runner.vcpu.set_regs(regs));
  auto events = TRY(runner.vcpu.events());
  if (events.interrupt.shadow != 0) {
    events.interrupt.shadow = 0;
    events.flags |= KVM_VCPUEVENT_VALID_SHADOW;
    TRY(runner.vcpu.set_events(events));
  }
  runner.run.halted = true;
  runner.run.interrupts_on = (regs.rflags & hypervisor::kRflagsIf) != 0;
  runner.run.nmi_masked = events.nmi.masked != 0;
  return true;
}

// What a device's or the local APIC's register access has begun. It may lead to the next one.
Result<> KvmMachine::finish(Runner& runner) {
  constexpr int kMostParts = 4096;  // A repeated string instruction goes on a page at a time.
  for (int i = 0; i < kMostParts; ++i) {
    if (TRY(runner.vcpu.complete()) == Vcpu::Entry::kInterrupted) return {};
    TRY(on_exit(runner));
  }
  return host_error("vCPU {} does not come to the end of an instruction", runner.id);
}

Result<> KvmMachine::let_in_interrupts(Runner& runner) {
  auto& apic = fabric_->apic(runner.id);
  auto& run = runner.vcpu.run();
  if (apic.take_nmi()) TRY(runner.vcpu.inject_nmi());
  if (apic.deliverable() && run.ready_for_interrupt_injection != 0 && run.if_flag != 0) {
    TRY(runner.vcpu.inject_interrupt(apic.acknowledge()));
    run.ready_for_interrupt_injection = 0;
  }
  run.request_interrupt_window = apic.deliverable() ? 1 : 0;
  run.cr8 = apic.cr8();
  return {};
}

// What was given to KVM and has not reached the guest's code.
Result<> KvmMachine::take_back_interrupts(Runner& runner) {
  auto& apic = fabric_->apic(runner.id);
  auto events = TRY(runner.vcpu.events());
  const bool interrupt = events.interrupt.injected != 0 && events.interrupt.soft == 0;
  const bool nmi = events.nmi.injected != 0 || events.nmi.pending != 0;
  if (!interrupt && !nmi) return {};
  if (interrupt) {
    apic.withdraw(events.interrupt.nr);
    events.interrupt.injected = 0;
  }
  if (nmi) {
    apic.restore_nmi();
    // KVM may have blocked NMIs when it injected this one, which the guest has not entered: that it was injected says
    // that nothing blocked them before.
    if (events.nmi.injected != 0) events.nmi.masked = 0;
    events.nmi.injected = 0;
    events.nmi.pending = 0;
    events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
  }
  return runner.vcpu.set_events(events);
}

// INIT, and a startup IPI after it: Intel SDM Vol. 3A, 9.1.1 (table 9-1) and 8.4.4.
Result<> KvmMachine::reset_vcpu(Runner& runner, std::optional<std::uint8_t> startup) {
  auto sregs = initial_sregs_;
  kvm_regs regs = {};
  regs.rip = 0xfff0;
  regs.rflags = hypervisor::kRflagsFixed;
  if (startup) {
    sregs.cs.selector = static_cast<std::uint16_t>(*startup << 8);
    sregs.cs.base = std::uint64_t{*startup} << 12;
    regs.rip = 0;
  }
  sregs.apic_base = TRY(runner.vcpu.sregs()).apic_base;
  TRY(runner.vcpu.set_sregs(sregs));
  TRY(runner.vcpu.set_regs(regs));
  kvm_vcpu_events events = {};
  events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  TRY(runner.vcpu.set_events(events));
  runner.run = {};
  runner.standing_at.reset();
  runner.interrupted.reset();
  // Brings the run area up to date with the new flags.
  static_cast<void>(TRY(runner.vcpu.complete()));
  return {};
}

// Where a single instruction may lead and KVM does not stop for the step. An exception's handler: the processor goes on
// until that returns. And where IRETQ returns to: a KVM that emulates executes one more instruction there. (A return to
// CPL 3 cannot be stopped at on such a host.)
Result<std::vector<Gva>> KvmMachine::ends_of_step(const Runner& runner) const {
  constexpr std::array kIretq{std::byte{0x48}, std::byte{0xcf}};
  constexpr std::array<std::uint64_t, kHardwareBreakpoints> kVectors{14, 13, 6, 0};  // #PF, #GP, #UD, #DE
  std::vector<Gva> ends;
  const auto sregs = TRY(runner.vcpu.sregs());
  const auto regs = TRY(runner.vcpu.regs());
  if ((sregs.efer & hypervisor::kEferLma) == 0) return ends;
  std::array<std::byte, 2> opcode{};
  std::array<std::uint64_t, 1> returns_to{};
  if (read_virtual(runner, Gva{regs.rip}, opcode) && opcode == kIretq &&
      read_virtual(runner, Gva{regs.rsp}, std::as_writable_bytes(std::span(returns_to)))) {
    ends.push_back(Gva{returns_to[0]});
    return ends;
  }
  for (const auto vector : kVectors) {
    std::array<std::byte, kGateBytes> gate{};
    if (vector * kGateBytes + gate.size() > sregs.idt.limit + 1U) continue;
    if (!read_virtual(runner, Gva{sregs.idt.base + vector * kGateBytes}, gate)) continue;
    const auto handler = handler_of(gate);
    // The instruction to be stepped is not to be stopped at.
    if (handler && handler->value != regs.rip) ends.push_back(*handler);
  }
  return ends;
}

// Tells KVM which stops are wanted. In a single step no breakpoint counts.
Result<> KvmMachine::arm(Runner& runner, bool single_step) {
  DebugControl control;
  control.single_step = single_step;
  if (single_step) {
    control.hardware = TRY(ends_of_step(runner));
  } else {
    control.hardware = runner.hardware;
    control.software_breakpoints = !software_.empty();
    if (runner.page_fault_entry && std::find(control.hardware.begin(), control.hardware.end(),
                                             *runner.page_fault_entry) == control.hardware.end()) {
      control.hardware.push_back(*runner.page_fault_entry);
    }
  }
  if (runner.armed == control) return {};
  TRY(runner.vcpu.set_debug(control));
  runner.armed = std::move(control);
  return {};
}

void KvmMachine::wind_up(VcpuId vcpu) {
  const auto next = fabric_->apic(vcpu).next_timer(clock_.now(index(vcpu)));
  if (next && *next < clockwork_next_) clockwork_wake_.notify_one();
}

void KvmMachine::clockwork() {
  Lock lock(mutex_);
  while (!quit_) {
    auto until = Clock::time_point::max();
    clockwork_next_ = std::chrono::nanoseconds::max();
    if (running_ && !stopping_) {
      fabric_->deliver_due(Clock::now());
      for (const auto& runner : runners_) {
        const auto now = now_of(*runner);
        fabric_->advance(runner->id, now);
        if (const auto next = fabric_->apic(runner->id).next_timer(now)) {
          clockwork_next_ = std::min(clockwork_next_, *next);
        }
      }
      kick_woken();
      if (clockwork_next_ != std::chrono::nanoseconds::max()) until = clock_.host_time_of(clockwork_next_);
      if (const auto due = fabric_->next_due()) until = std::min(until, *due);
    }
    if (until == Clock::time_point::max()) {
      clockwork_wake_.wait(lock);
    } else {
      clockwork_wake_.wait_until(lock, until);
    }
  }
}

}  // namespace panicroom::kvm
