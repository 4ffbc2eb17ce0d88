#include "agent/guest/workload_loops.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include "agent/guest/page_frames.h"
#include "agent/guest/pseudo_files.h"

namespace panicroom::agent {
namespace {

constexpr std::uint64_t kPassesUntilReady = 3;
// How often to look whether a workload is ready, and how long it may take at most: 60 s of guest time.
constexpr long kPollNanoseconds = 2'000'000;
constexpr std::uint32_t kPollsUntilGivenUp = 30'000;
// How often a workload looks whether it is to start. It wakes no CPU but its own.
constexpr long kStartPollNanoseconds = 500'000;

void* shared_page() {
  void* page = mmap(nullptr, vmcore::kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return nullptr;
  mlock(page, vmcore::kPageBytes);
  return page;
}

template <typename Processes, typename PageOf>
std::vector<Gpa> physical_pages(const Processes& processes, const PageOf& page_of) {
  std::vector<Gpa> pages;
  for (const auto& process : processes) {
    const auto frames = page_frames(page_of(process), 1);
    if (frames.empty()) return {};
    pages.push_back(frames.front());
  }
  return pages;
}

}  // namespace

void WorkloadProcesses::run(const Process& process) {
  const auto& [workload_cpu, workload] = process.pinned;
  char name[16];
  std::snprintf(name, sizeof(name), "%.8s/%u", workload->name.data(), index(workload_cpu));
  prctl(PR_SET_NAME, name);
  prctl(PR_SET_TIMERSLACK, 1UL);
  // The OOM killer, which the workload sysrq-f calls, is to find no victim.
  write_small_file("/proc/self/oom_score_adj", "-1000");
  if (!pin_to(workload_cpu)) {
    process.progress->error_number = errno;
    _exit(1);
  }
  if (process.start != nullptr) {
    __atomic_store_n(&process.start->waiting, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&process.start->go, __ATOMIC_ACQUIRE) == 0) sleep_for(kStartPollNanoseconds);
  }
  run_workload(process.pinned, *process.progress);
}

Failure WorkloadProcesses::fail(const Process& process, int error, std::string_view what) {
  return Failure{v1::Failed::STAGE_WORKLOAD, error,
                 fmt::format("workload {} on cpu{}: {}", process.pinned.workload->name, process.pinned.cpu, what)};
}

Outcome<> WorkloadProcesses::get_pages(Process& process) {
  void* page = shared_page();
  if (page == nullptr) return tl::unexpected(fail(process, errno, "out of memory: give the machine more"));
  process.progress = new (page) Progress{};
  return {};
}

Outcome<> WorkloadProcesses::prepare(const std::vector<PinnedWorkload>& workloads,
                                     const std::vector<PinnedWorkload>& starts) {
  keep_locked_pages_in_place();
  for (const PinnedWorkload& pinned : workloads) {
    Process& process = processes_.emplace_back(Process{.pinned = pinned});
    if (auto got = get_pages(process); !got) return got;
  }
  for (const PinnedWorkload& pinned : starts) {
    Process& process = waiting_.emplace_back(Process{.pinned = pinned});
    if (auto got = get_pages(process); !got) return got;
    void* page = shared_page();
    if (page == nullptr) return tl::unexpected(fail(process, errno, "out of memory: give the machine more"));
    process.start = new (page) StartPage{.magic = kStartMagic,
                                         .cpu = index(pinned.cpu),
                                         .number = static_cast<std::uint32_t>(waiting_.size() - 1),
                                         .waiting = 0,
                                         .go = 0};
  }
  return {};
}

std::vector<Gpa> WorkloadProcesses::pages() const {
  return physical_pages(processes_, [](const Process& process) { return process.progress; });
}

std::vector<Gpa> WorkloadProcesses::start_pages() const {
  return physical_pages(waiting_, [](const Process& process) { return process.start; });
}

Outcome<> WorkloadProcesses::begin(Process& process) {
  process.pid = fork();
  if (process.pid < 0) return tl::unexpected(fail(process, errno, fmt::format("fork: {}", std::strerror(errno))));
  if (process.pid == 0) run(process);
  return {};
}

bool WorkloadProcesses::is_ready(const Process& process) {
  if (process.start != nullptr) return __atomic_load_n(&process.start->waiting, __ATOMIC_ACQUIRE) != 0;
  return process.progress->passes >= kPassesUntilReady;
}

Outcome<> WorkloadProcesses::wait_until_ready(const Process& process, std::uint32_t slowdown) {
  for (std::uint64_t polls = 0; !is_ready(process); ++polls) {
    reap();
    if (process.ended) {
      const int error = process.progress->error_number;
      if (error == EINVAL)
        return tl::unexpected(fail(process, error, "that CPU is not online: see machine.vcpus in the scenario"));
      return tl::unexpected(fail(process, error, fmt::format("it ended at once: {}", std::strerror(error))));
    }
    if (polls == std::uint64_t{kPollsUntilGivenUp} * slowdown) {
      return tl::unexpected(fail(process, 0, fmt::format("it has not passed its point within {} s", 60 * slowdown)));
    }
    sleep_for(kPollNanoseconds);
  }
  return {};
}

Outcome<> WorkloadProcesses::start(Channel& channel, std::uint32_t slowdown) {
  write_small_file("/proc/sys/kernel/printk_devkmsg",
                   "on\n");  // No rate limit for kmsg; refused where the command line says.

  for (auto* processes : {&processes_, &waiting_}) {
    for (Process& process : *processes) {
      if (auto begun = begin(process); !begun) return begun;
    }
  }
  for (const Process& process : processes_) {
    if (auto ready = wait_until_ready(process, slowdown); !ready) return ready;
    v1::Message message;
    message.mutable_workload_ready()->set_cpu(index(process.pinned.cpu));
    message.mutable_workload_ready()->set_name(std::string(process.pinned.workload->name));
    channel.send(std::move(message));
  }
  for (const Process& process : waiting_) {
    if (auto ready = wait_until_ready(process, slowdown); !ready) return ready;
  }
  return {};
}

bool WorkloadProcesses::told_to_be_quiet() const {
  return !processes_.empty() && processes_.front().progress->quiet.load(std::memory_order_relaxed) != 0;
}

void WorkloadProcesses::fill(v1::Heartbeat& heartbeat) {
  reap();
  for (const Process& process : processes_) {
    auto& workload = *heartbeat.add_workloads();
    workload.set_cpu(index(process.pinned.cpu));
    workload.set_passes(process.progress->passes);
    workload.set_ended(process.ended);
  }
}

void WorkloadProcesses::reap() {
  while (true) {
    const pid_t pid = waitpid(-1, nullptr, WNOHANG);
    if (pid <= 0) return;
    for (auto* processes : {&processes_, &waiting_}) {
      for (Process& process : *processes) {
        if (process.pid == pid) process.ended = true;
      }
    }
  }
}

}  // namespace panicroom::agent
