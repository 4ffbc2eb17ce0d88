// Carries out a scenario's steps: one after the other, each armed when the one before it has happened.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/result.h"
#include "harness/director/injection.h"
#include "harness/observer/journal.h"
#include "harness/observer/running_kernel.h"
#include "harness/plan/plan.h"
#include "harness/scenario/scenario.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

// Refers to everything that it is given; all must outlive it. One thread; every call needs a stopped machine and leaves
// it stopped.
class Timeline {
 public:
  // `start_pages`: one for each of starts(scenario).
  Timeline(hypervisor::Machine& machine, const Scenario& scenario, const Plan& plan, const RunningKernel& kernel,
           std::span<const Gpa> start_pages, Journal& journal);

  // Arms the first step. A step without a place happens at once, and so on.
  Result<> begin();
  // Removes what is armed: no further step will happen.
  Result<> disarm();

  // False if the breakpoint is not one of the timeline's.
  Result<bool> on_breakpoint(const hypervisor::BreakpointHit& hit, const hypervisor::Registers& registers);
  Result<> on_ipi(const hypervisor::Ipi& ipi);
  // When on_time() wants to be called: the end of a window in which a CPU spins.
  [[nodiscard]] std::optional<hypervisor::Clock::time_point> next_deadline() const;
  Result<> on_time(hypervisor::Clock::time_point now);

  // Every step has happened, and no CPU spins any more.
  [[nodiscard]] bool complete() const;
  // The step that is waited for, or an open window's end, is an IPI.
  [[nodiscard]] bool waits_for_ipi() const;
  [[nodiscard]] bool happened(std::uint32_t step) const { return step <= next_; }
  [[nodiscard]] bool all_steps_happened() const { return next_ == scenario_.timeline.size(); }

 private:
  struct Window {
    SpinWindow spin;
    std::optional<hypervisor::Clock::time_point> ends_at;
    std::optional<AtIpi> until_ipi;
    std::set<hypervisor::BreakpointId> until;
    kernels::PointCondition until_condition = kernels::PointCondition::kAlways;
    std::optional<hypervisor::BreakpointId> at_loop;  // Set once the window is to end.
    bool closed = false;
  };

  // Arms the next step, and carries out those that have no place.
  Result<> arm_next();
  // The step that is armed has been reached by its CPU.
  Result<> happen();
  Result<> perform(const Step& step, std::size_t number);
  Result<> open_window(const Step& step, std::size_t number, const DoSpin& action);
  Result<> begin_closing(Window& window);
  Result<> set_values(const Step& step, const DoSet& action);
  Result<> start(const Step& step, const DoStart& action);
  Result<> remove(std::set<hypervisor::BreakpointId>& breakpoints);

  hypervisor::Machine& machine_;
  const Scenario& scenario_;
  const Plan& plan_;
  const RunningKernel& kernel_;
  std::span<const Gpa> start_pages_;
  std::uint32_t started_ = 0;  // How many of them.
  Journal& journal_;
  std::size_t next_ = 0;  // The step that is armed.
  std::uint32_t passes_ = 0;
  bool disarmed_ = false;
  std::set<hypervisor::BreakpointId> armed_;
  std::optional<std::vector<bool>> held_before_alone_;
  std::vector<Window> windows_;
};

// Whether an IPI is one that an `ipi:` event means.
bool matches(const AtIpi& event, const hypervisor::Ipi& ipi);

}  // namespace panicroom::harness
