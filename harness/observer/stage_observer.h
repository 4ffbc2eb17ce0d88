// Watches a trial go through its stages, by breakpoints that nothing passes before the crash, and takes down the truth
// that the dump is later compared with.
#pragma once

#include <map>
#include <optional>

#include "base/result.h"
#include "harness/observer/crash_truth.h"
#include "harness/observer/journal.h"
#include "harness/observer/memory_truth.h"
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

  // Sets the breakpoints, and takes down where every CPU is now. The machine is stopped.
  Result<> arm();
  // Removes those that are left.
  Result<> disarm();
  // False if the breakpoint is not one of the observer's.
  Result<bool> on_breakpoint(const hypervisor::BreakpointHit& hit, const hypervisor::Registers& registers);

  // Takes note that a CPU has these registers at a moment before the crash is over.
  void remember(VcpuId vcpu, const hypervisor::Registers& registers, std::string what);
  // Once jumped(), with the machine still standing there and the breakpoints gone.
  Result<> record_memory(const MemoryPlan& plan);

  // Some CPU has entered panic() or __crash_kexec().
  [[nodiscard]] bool crashing() const { return crashing_; }
  // The kernel under test has handed over to the capture kernel.
  [[nodiscard]] bool jumped() const { return jumped_; }
  [[nodiscard]] bool reset_begun() const { return reset_begun_; }
  [[nodiscard]] const CrashTruth& truth() const { return truth_; }
  // Why no dump was begun, where that could be seen: "CPU 0 found the kexec lock taken in __crash_kexec(), which gives
  // up silently"; or empty.
  [[nodiscard]] const std::string& skipped() const { return skipped_; }
  // What the CPU that went on in panic() had to say: the one that jumped or began the reset, or the last to be elected.
  [[nodiscard]] std::optional<PanicMessage> message() const;
  // What each CPU that entered panic() had to say.
  [[nodiscard]] const std::map<VcpuId, PanicMessage>& messages() const { return messages_; }
  // Who has begun the reset, if anybody was seen to.
  [[nodiscard]] std::optional<VcpuId> resetter() const { return resetter_; }

 private:
  struct Watch {
    StageKind kind;
    kernels::PointCondition condition;
  };
  Result<> record_stop(VcpuId vcpu, const hypervisor::Registers& registers);
  void record_nmi(VcpuId vcpu, hypervisor::Registers registers);
  Result<> record_crash_kexec(VcpuId vcpu, const hypervisor::Registers& registers);
  Result<> record_saved(VcpuId vcpu, const hypervisor::Registers& registers);
  void see_whether_skipped(VcpuId vcpu);
  void record_message(VcpuId vcpu, const hypervisor::Registers& registers);
  std::string read_text(VcpuId vcpu, Gva at);

  hypervisor::Machine& machine_;
  const Plan& plan_;
  const RunningKernel& kernel_;
  Journal& journal_;
  std::map<hypervisor::BreakpointId, Watch> watches_;
  CrashTruth truth_;
  std::map<VcpuId, hypervisor::Registers> interrupted_;  // By the last NMI that did not interrupt another.
  std::map<VcpuId, PanicMessage> messages_;
  std::string skipped_;
  std::optional<VcpuId> elected_;  // By the gate of panic(), the last one.
  std::optional<VcpuId> resetter_;
  bool crashing_ = false;
  bool jumped_ = false;
  bool reset_begun_ = false;
};

}  // namespace panicroom::harness
