// Does to vCPUs what steps say, and ends what goes on behind a step: the windows in which a CPU spins.
#pragma once

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

// Whether an IPI is one that an `ipi:` event means.
bool matches(const AtIpi& event, const hypervisor::Ipi& ipi);

// Refers to everything that it is given; all must outlive it. One thread; every call needs a stopped machine and leaves
// it stopped.
class Actions {
 public:
  // `panic`: where an injected panic goes. `start_pages`: one for each workload that waits to be started.
  Actions(hypervisor::Machine& machine, const RunningKernel& kernel, LinkAddress panic,
          std::span<const Gpa> start_pages, Journal& journal);

  // Carries out the step's action at once, wherever its CPU stands. `pause_loop` and `until` are for the actions that
  // spin: where, and which place ends it.
  Result<> perform(const Step& step, LinkAddress pause_loop, const PlannedPlace& until);

  // False if the breakpoint is not one of a window's.
  Result<bool> on_breakpoint(const hypervisor::BreakpointHit& hit, const hypervisor::Registers& registers);
  Result<> on_ipi(const hypervisor::Ipi& ipi);
  // When on_time() wants to be called: the end of a window.
  [[nodiscard]] std::optional<hypervisor::Clock::time_point> next_deadline() const;
  Result<> on_time(hypervisor::Clock::time_point now);
  // Removes what is armed, and ends what go_on() would go on with: a window that is open stays so.
  Result<> disarm();

  // Goes on with what a step had to leave off because its CPU came to a breakpoint that others wait for: DoStep. To be
  // called before the machine goes on, when what it had to report has been dealt with.
  Result<> go_on();
  // Such an action is not at its end.
  [[nodiscard]] bool busy() const { return steps_left_ > 0; }

  // An open window's end is an IPI.
  [[nodiscard]] bool waits_for_ipi() const;
  // No CPU spins any more.
  [[nodiscard]] bool settled() const;

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

  Result<> open_window(const Step& step, const DoSpin& action, LinkAddress pause_loop, const PlannedPlace& until);
  Result<> begin_closing(Window& window);
  Result<> set_values(const Step& step, const DoSet& action);
  Result<> start(const Step& step, const DoStart& action);

  hypervisor::Machine& machine_;
  const RunningKernel& kernel_;
  LinkAddress panic_;
  std::span<const Gpa> start_pages_;
  std::uint32_t started_ = 0;  // How many of them.
  Journal& journal_;
  std::vector<Window> windows_;
  VcpuId stepping_{};
  std::uint32_t steps_left_ = 0;
  bool disarmed_ = false;
};

// Removes the breakpoints from the machine and from the set.
Result<> remove_breakpoints(hypervisor::Machine& machine, std::set<hypervisor::BreakpointId>& breakpoints);

}  // namespace panicroom::harness
