// Watches a trial go through its stages, by breakpoints that nothing passes before the crash, and takes down the truth
// that the dump is later compared with.
#pragma once

#include <map>
#include <optional>

#include "base/result.h"
#include "harness/observer/dump_judge.h"
#include "harness/observer/journal.h"
#include "harness/observer/running_kernel.h"
#include "harness/plan/plan.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

// True if the point's condition holds for a vCPU that stands at it.
bool holds(kernels::PointCondition condition, const hypervisor::Registers& registers);

// Refers to everything that it is given; all must outlive it. One thread.
class StageObserver {
 public:
  StageObserver(hypervisor::Machine& machine, const Plan& plan, const RunningKernel& kernel, Journal& journal);

  // Sets the breakpoints.
  Result<> arm();
  // Removes those that are left.
  Result<> disarm();
  // False if the breakpoint is not one of the observer's.
  Result<bool> on_breakpoint(const hypervisor::BreakpointHit& hit, const hypervisor::Registers& registers);

  // Some CPU has entered panic() or __crash_kexec().
  [[nodiscard]] bool crashing() const { return crashing_; }
  // The kernel under test has handed over to the capture kernel.
  [[nodiscard]] bool jumped() const { return jumped_; }
  [[nodiscard]] bool reset_begun() const { return reset_begun_; }
  [[nodiscard]] const CrashTruth& truth() const { return truth_; }

 private:
  struct Watch {
    StageKind kind;
    kernels::PointCondition condition;
  };
  Result<> record_stop(VcpuId vcpu, const hypervisor::Registers& registers);

  hypervisor::Machine& machine_;
  const Plan& plan_;
  const RunningKernel& kernel_;
  Journal& journal_;
  std::map<hypervisor::BreakpointId, Watch> watches_;
  CrashTruth truth_;
  bool crashing_ = false;
  bool jumped_ = false;
  bool reset_begun_ = false;
};

}  // namespace panicroom::harness
