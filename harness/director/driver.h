// Whoever does things to the machine in a trial: a scenario's timeline, or a client that decides as it goes along. The
// trial's loop is the same for both, and so is what it makes of the crash.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "harness/scenario/scenario.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

// Called by the one thread that runs the trial. But where it says so, every call finds the machine stopped and leaves
// it stopped. An error ends the trial.
class Driver {
 public:
  Driver() = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  virtual ~Driver() = default;

  // The machine stands restored, and the observer's breakpoints are set.
  virtual Result<> begin() = 0;
  // The vCPU is about to execute the kernel's last instruction, as in a breakpoint that everybody may wait for. Behind
  // it other code lies at the kernel's addresses: every breakpoint of its own is removed then.
  virtual Result<> on_jump(VcpuId vcpu, const hypervisor::Registers& registers) = 0;
  // The trial is over: removes every breakpoint of its own.
  virtual Result<> disarm() = 0;

  // False if the breakpoint is not one of its own.
  virtual Result<bool> on_breakpoint(const hypervisor::BreakpointHit& hit, const hypervisor::Registers& registers) = 0;
  virtual Result<> on_ipi(const hypervisor::Ipi& ipi) = 0;
  // When on_time() wants to be called. At any time.
  [[nodiscard]] virtual std::optional<hypervisor::Clock::time_point> next_deadline() const = 0;
  virtual Result<> on_time(hypervisor::Clock::time_point now) = 0;

  // The machine is about to go on: returns when it may. False: the trial ends here, undecided.
  virtual Result<bool> before_resume() { return true; }
  // Machine::cancel() was called, and the machine may be running. True: it is to be stopped.
  virtual Result<bool> on_cancelled() { return Error(ErrorKind::kCancelled, "cancelled"); }

  // --- At any time.
  // Everything that it means to do has been done: a kernel that goes on working has not panicked.
  [[nodiscard]] virtual bool complete() const = 0;
  // IPIs have to be watched, whether or not the kernel is crashing.
  [[nodiscard]] virtual bool waits_for_ipi() const = 0;
  // A rule of the scenario's stop_ipi with that `after_step` is in force.
  [[nodiscard]] virtual bool happened(std::uint32_t step) const = 0;
  // The scenario's stop_ipi has been changed since the last call.
  virtual bool take_new_ipi_rules() { return false; }
  // How long the trial may take from the moment that this first is something; until then neither time nor a standstill
  // decides anything.
  [[nodiscard]] virtual std::optional<Nanoseconds> timeout() const = 0;
};

}  // namespace panicroom::harness
