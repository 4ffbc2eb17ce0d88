// Takes down the machine's memory at the jump into the capture kernel, for comparison with the dump.
#pragma once

#include <vector>

#include "agent/vmcore/samples.h"
#include "base/result.h"
#include "harness/observer/crash_truth.h"
#include "harness/observer/running_kernel.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

struct MemoryPlan {
  vmcore::SamplePlan samples;
  std::vector<Gpa> workload_pages;  // As the agent in the first kernel said.
};

// Fills phys_base, ram and samples of `truth`, whose owner must be known and stand at the jump: nothing that is read
// here changes any more, but what a CPU writes that was not stopped. What cannot be read is left out, and not compared.
Result<> record_memory(hypervisor::Machine& machine, const RunningKernel& kernel, const MemoryPlan& plan,
                       CrashTruth& truth);

// The memory that a dump must hold: what is `usable` (sorted or not), but for the first megabyte, which the kernel
// leaves out of its dumps, and `crash`, the capture kernel's own. Whole pages only.
std::vector<MemoryRange> dumped_memory(std::vector<MemoryRange> usable, const std::vector<MemoryRange>& crash);

}  // namespace panicroom::harness
