// What each workload of agent/protocol/workloads.h does, in the process that it has for itself.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "agent/protocol/config.h"
#include "agent/protocol/quiet_word.h"
#include "agent/vmcore/samples.h"

namespace panicroom::agent {

// A page, shared with the workload's process. What it holds after each pass is known: vmcore::pattern_word().
struct Progress {
  std::atomic<std::uint64_t> passes;
  std::atomic<int> error_number;
  std::atomic<std::uint32_t> quiet;  // Of the first process's page: set by the host, see quiet_word.h.
  std::uint64_t more[vmcore::kPatternWords - 2];

  // One more pass of the workload on `cpu`.
  void pass(VcpuId cpu) {
    const std::uint64_t next = passes.load(std::memory_order_relaxed) + 1;
    const std::size_t slot = vmcore::pattern_slot(next) - 2;
    __atomic_store_n(&more[slot], vmcore::pattern_word(cpu, next), __ATOMIC_RELAXED);
    passes.store(next, std::memory_order_release);
  }
};
static_assert(sizeof(Progress) == vmcore::kPageBytes && offsetof(Progress, quiet) == kQuietWordOffset);

// Whether the calling process now runs on that CPU alone; errno says why not.
bool pin_to(VcpuId cpu);
void sleep_for(long nanoseconds);

// Runs the workload for ever, or once, in the calling process, which is pinned. Ends the process when that is over, or
// cannot be done: then progress.error_number says why.
[[noreturn]] void run_workload(const PinnedWorkload& pinned, Progress& progress);

}  // namespace panicroom::agent
