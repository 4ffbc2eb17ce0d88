// Carries out a scenario's steps: one after the other, each armed when the one before it has happened.
#pragma once

#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <vector>

#include "base/result.h"
#include "harness/director/actions.h"
#include "harness/director/driver.h"
#include "harness/observer/journal.h"
#include "harness/observer/running_kernel.h"
#include "harness/plan/plan.h"
#include "harness/scenario/scenario.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

// Refers to everything that it is given; all must outlive it. One thread; every call needs a stopped machine and leaves
// it stopped.
class Timeline final : public Driver {
 public:
  // `start_pages`: one for each of starts(scenario).
  Timeline(hypervisor::Machine& machine, const Scenario& scenario, const Plan& plan, const RunningKernel& kernel,
           std::span<const Gpa> start_pages, Journal& journal);

  // Arms the first step. A step without a place happens at once, and so on.
  Result<> begin() override;
  // A step that waits for this place happens. Of those behind it only the ones go on that need nothing of the kernel:
  // NMIs, machine checks and notes after a time.
  Result<> on_jump(VcpuId vcpu, const hypervisor::Registers& registers) override;
  Result<> disarm() override;
  Result<bool> on_breakpoint(const hypervisor::BreakpointHit& hit, const hypervisor::Registers& registers) override;
  Result<> on_ipi(const hypervisor::Ipi& ipi) override;
  // The end of a window in which a CPU spins, or of the wait for a step.
  [[nodiscard]] std::optional<hypervisor::Clock::time_point> next_deadline() const override;
  Result<> on_time(hypervisor::Clock::time_point now) override;
  Result<bool> before_resume() override;

  // Every step has happened, and no CPU spins any more.
  [[nodiscard]] bool complete() const override;
  // The step that is waited for, or an open window's end, is an IPI.
  [[nodiscard]] bool waits_for_ipi() const override;
  [[nodiscard]] bool happened(std::uint32_t step) const override { return step <= next_; }
  [[nodiscard]] std::optional<Nanoseconds> timeout() const override { return scenario_.timeout; }

 private:
  [[nodiscard]] bool all_steps_happened() const { return next_ == scenario_.timeline.size(); }
  // The CPU has come once more by the place of the step that is armed, which may happen now.
  Result<> come_by();
  // Arms the next step, and carries out those that have no place.
  Result<> arm_next();
  // The step that is armed has been reached by its CPU.
  Result<> happen();

  hypervisor::Machine& machine_;
  const Scenario& scenario_;
  const Plan& plan_;
  const RunningKernel& kernel_;
  Journal& journal_;
  std::size_t next_ = 0;  // The step that is armed.
  std::uint32_t passes_ = 0;
  bool disarmed_ = false;  // The kernel that the places are of is gone.
  std::set<hypervisor::BreakpointId> armed_;
  std::optional<hypervisor::Clock::time_point> due_;  // When the armed step happens, if it waits for a time.
  std::optional<std::vector<bool>> held_before_alone_;
  Actions actions_;
  std::mt19937_64 random_{std::random_device()()};
};

}  // namespace panicroom::harness
