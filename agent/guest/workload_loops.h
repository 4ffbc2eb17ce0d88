// Runs the workloads of agent/protocol/workloads.h, each as a process of its own pinned to its CPU: a process, and not
// a thread of PID 1, because the kernel treats an oops in init as fatal and so would make every oops a panic.
#pragma once

#include <sys/types.h>

#include <vector>

#include "agent/guest/channel.h"
#include "agent/guest/workload_bodies.h"
#include "agent/protocol/config.h"
#include "agent/protocol/start_page.h"

namespace panicroom::agent {

class WorkloadProcesses {
 public:
  // Gets each its pages, which then stay where they are in physical memory. `starts` are those that wait for the host's
  // word.
  Outcome<> prepare(const std::vector<PinnedWorkload>& workloads, const std::vector<PinnedWorkload>& starts);
  // Where the pages are that the workloads write; empty if the kernel does not tell (no CONFIG_PROC_PAGE_MONITOR).
  [[nodiscard]] std::vector<Gpa> pages() const;
  // The same of the pages by which the host starts the others, each a StartPage.
  [[nodiscard]] std::vector<Gpa> start_pages() const;
  // Starts all that were prepared, and returns when each has passed its point a few times, or waits for its word; sends
  // WorkloadReady for those that run. They get `slowdown` times as long as usual.
  Outcome<> start(Channel& channel, std::uint32_t slowdown);
  // Whether the host has said that nothing more is to be sent.
  [[nodiscard]] bool told_to_be_quiet() const;
  // The passes so far, and who has ended; not of those that wait or were started by the host.
  void fill(v1::Heartbeat& heartbeat);

 private:
  struct Process {
    PinnedWorkload pinned;
    pid_t pid = 0;
    bool ended = false;
    Progress* progress = nullptr;
    StartPage* start = nullptr;  // Of those that wait.
  };

  static Failure fail(const Process& process, int error, std::string_view what);
  static Outcome<> get_pages(Process& process);
  [[noreturn]] static void run(const Process& process);
  static bool is_ready(const Process& process);
  static Outcome<> begin(Process& process);
  Outcome<> wait_until_ready(const Process& process, std::uint32_t slowdown);
  void reap();

  std::vector<Process> processes_;
  std::vector<Process> waiting_;
};

}  // namespace panicroom::agent
