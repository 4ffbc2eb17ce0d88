#include "agent/guest/workload_loops.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "agent/guest/page_frames.h"
#include "agent/guest/pseudo_files.h"
#include "base/file.h"

namespace panicroom::agent {
namespace {

constexpr std::uint64_t kPassesUntilReady = 3;
// How often to look whether a workload is ready, and how long it may take at most: 60 s of guest time.
constexpr long kPollNanoseconds = 2'000'000;
constexpr int kPollsUntilGivenUp = 30'000;

void sleep_for(long nanoseconds) {
  const timespec time{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  nanosleep(&time, nullptr);
}

// A CPU set large enough for any kernel: the kernel refuses none that is too large.
bool pin_to(VcpuId cpu) {
  std::vector<unsigned long> mask(kMaxCpus / (8 * sizeof(unsigned long)));
  constexpr std::size_t kBits = 8 * sizeof(unsigned long);
  mask[index(cpu) / kBits] |= 1UL << (index(cpu) % kBits);
  return syscall(SYS_sched_setaffinity, 0, mask.size() * sizeof(unsigned long), mask.data()) == 0;
}

}  // namespace

void WorkloadProcesses::run(const PinnedWorkload& pinned, Progress& progress) {
  const auto give_up = [&progress] {
    progress.error_number = errno == 0 ? EIO : errno;
    _exit(1);
  };
  char name[16];
  std::snprintf(name, sizeof(name), "%.8s/%u", pinned.workload->name.data(), index(pinned.cpu));
  prctl(PR_SET_NAME, name);
  prctl(PR_SET_TIMERSLACK, 1UL);
  if (!pin_to(pinned.cpu)) give_up();

  switch (pinned.workload->kind) {
    case WorkloadKind::kIdle:
      while (true) {
        sleep_for(10'000'000);
        progress.pass(pinned.cpu);
      }
    case WorkloadKind::kSyscalls: {
      const long number = workload_syscall(pinned.cpu);
      while (true) {
        // Some passes and a pause: a breakpoint is hit within a millisecond, and the host's CPU is left in peace.
        for (int i = 0; i < 16; ++i) {
          syscall(number, 0, 0, 0, 0, 0, 0);
          progress.pass(pinned.cpu);
        }
        sleep_for(1'000'000);
      }
    }
    case WorkloadKind::kUser:
      while (true) {
        for (int i = 0; i < 10'000; ++i) __builtin_ia32_pause();
        progress.pass(pinned.cpu);
      }
    case WorkloadKind::kKmsg: {
      const int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
      if (fd < 0) give_up();
      while (true) {
        char line[96];
        // 11: facility "user", level "error", which also a quiet console shows.
        const int length = std::snprintf(line, sizeof(line), "<11>panicroom: workload kmsg on cpu%u, line %llu\n",
                                         index(pinned.cpu), static_cast<unsigned long long>(progress.passes));
        if (write(fd, line, static_cast<std::size_t>(length)) < 0) give_up();
        progress.pass(pinned.cpu);
        sleep_for(20'000'000);
      }
    }
  }
  give_up();
  __builtin_unreachable();
}

Failure WorkloadProcesses::fail(const Process& process, int error, std::string_view what) {
  return Failure{v1::Failed::STAGE_WORKLOAD, error,
                 fmt::format("workload {} on cpu{}: {}", process.pinned.workload->name, process.pinned.cpu, what)};
}

Outcome<> WorkloadProcesses::prepare(const std::vector<PinnedWorkload>& workloads) {
  keep_locked_pages_in_place();
  for (const PinnedWorkload& pinned : workloads) {
    Process& process = processes_.emplace_back(Process{pinned});
    void* shared = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return tl::unexpected(fail(process, errno, "out of memory: give the machine more"));
    process.progress = new (shared) Progress{};
    mlock(shared, sizeof(Progress));
  }
  return {};
}

std::vector<Gpa> WorkloadProcesses::pages() const {
  std::vector<Gpa> pages;
  for (const Process& process : processes_) {
    const auto frames = page_frames(process.progress, 1);
    if (frames.empty()) return {};
    pages.push_back(frames.front());
  }
  return pages;
}

Outcome<> WorkloadProcesses::start(Channel& channel) {
  write_small_file("/proc/sys/kernel/printk_devkmsg",
                   "on\n");  // No rate limit for kmsg; refused where the command line says.

  for (Process& process : processes_) {
    process.pid = fork();
    if (process.pid < 0) return tl::unexpected(fail(process, errno, fmt::format("fork: {}", std::strerror(errno))));
    if (process.pid == 0) run(process.pinned, *process.progress);
  }
  for (Process& process : processes_) {
    for (int polls = 0; process.progress->passes < kPassesUntilReady; ++polls) {
      reap();
      if (process.ended) {
        const int error = process.progress->error_number;
        if (error == EINVAL)
          return tl::unexpected(fail(process, error, "that CPU is not online: see machine.vcpus in the scenario"));
        return tl::unexpected(fail(process, error, fmt::format("it ended at once: {}", std::strerror(error))));
      }
      if (polls == kPollsUntilGivenUp)
        return tl::unexpected(fail(process, 0, "it has not passed its point within 60 s"));
      sleep_for(kPollNanoseconds);
    }
    v1::Message message;
    message.mutable_workload_ready()->set_cpu(index(process.pinned.cpu));
    message.mutable_workload_ready()->set_name(std::string(process.pinned.workload->name));
    channel.send(std::move(message));
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
    for (Process& process : processes_) {
      if (process.pid == pid) process.ended = true;
    }
  }
}

}  // namespace panicroom::agent
