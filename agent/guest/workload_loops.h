// Runs the workloads of agent/protocol/workloads.h, each as a process of its own pinned to its CPU: a process, and not
// a thread of PID 1, because the kernel treats an oops in init as fatal and so would make every oops a panic.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "agent/guest/channel.h"
#include "agent/protocol/config.h"

namespace panicroom::agent {

class WorkloadProcesses {
 public:
  // Starts them all, and returns when each has passed its point a few times; sends WorkloadReady for each.
  Outcome<> start(const std::vector<PinnedWorkload>& workloads, Channel& channel);
  // The passes so far, and who has ended.
  void fill(v1::Heartbeat& heartbeat);

 private:
  // Shared with the process.
  struct Progress {
    std::atomic<std::uint64_t> passes;
    std::atomic<int> error_number;
  };
  struct Process {
    PinnedWorkload pinned;
    pid_t pid = 0;
    bool ended = false;
    Progress* progress = nullptr;
  };

  [[noreturn]] static void run(const PinnedWorkload& pinned, Progress& progress);
  void reap();

  std::vector<Process> processes_;
};

}  // namespace panicroom::agent
