// Runs the workloads of agent/protocol/workloads.h, each as a process of its own pinned to its CPU: a process, and not
// a thread of PID 1, because the kernel treats an oops in init as fatal and so would make every oops a panic.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "agent/guest/channel.h"
#include "agent/protocol/config.h"
#include "agent/protocol/quiet_word.h"
#include "agent/vmcore/samples.h"

namespace panicroom::agent {

class WorkloadProcesses {
 public:
  // Gets each its page, which then stays where it is in physical memory.
  Outcome<> prepare(const std::vector<PinnedWorkload>& workloads);
  // Where the pages are; empty if the kernel does not tell (no CONFIG_PROC_PAGE_MONITOR).
  [[nodiscard]] std::vector<Gpa> pages() const;
  // Starts all that were prepared, and returns when each has passed its point a few times; sends WorkloadReady for
  // each.
  Outcome<> start(Channel& channel);
  // Whether the host has said that nothing more is to be sent.
  [[nodiscard]] bool told_to_be_quiet() const;
  // The passes so far, and who has ended.
  void fill(v1::Heartbeat& heartbeat);

 private:
  // A page, shared with the process. What it holds after each pass is known: vmcore::pattern_word().
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
  struct Process {
    PinnedWorkload pinned;
    pid_t pid = 0;
    bool ended = false;
    Progress* progress = nullptr;
  };

  static Failure fail(const Process& process, int error, std::string_view what);
  [[noreturn]] static void run(const PinnedWorkload& pinned, Progress& progress);
  void reap();

  std::vector<Process> processes_;
};

}  // namespace panicroom::agent
