#include "agent/guest/workload_bodies.h"

#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "agent/guest/pseudo_files.h"

namespace panicroom::agent {
namespace {

[[noreturn]] void give_up(Progress& progress) {
  progress.error_number = errno == 0 ? EIO : errno;
  _exit(1);
}

int open_or_give_up(const char* path, int flags, Progress& progress) {
  const int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0) give_up(progress);
  return fd;
}

[[noreturn]] void sleep_on_and_on(VcpuId cpu, Progress& progress) {
  while (true) {
    sleep_for(10'000'000);
    progress.pass(cpu);
  }
}

[[noreturn]] void make_syscalls(VcpuId cpu, Progress& progress) {
  const long number = workload_syscall(cpu);
  while (true) {
    // Some passes and a pause: a breakpoint is hit within a millisecond, and the host's CPU is left in peace.
    for (int i = 0; i < 16; ++i) {
      syscall(number, 0, 0, 0, 0, 0, 0);
      progress.pass(cpu);
    }
    sleep_for(1'000'000);
  }
}

[[noreturn]] void spin_in_user_mode(VcpuId cpu, Progress& progress) {
  while (true) {
    for (int i = 0; i < 10'000; ++i) __builtin_ia32_pause();
    progress.pass(cpu);
  }
}

// A pipe's inode is freed when RCU's grace period is over: there is always one that somebody waits for. And RCU's
// stalls are found by the tick, which an idle CPU does not have.
[[noreturn]] void make_pipes(VcpuId cpu, Progress& progress) {
  while (true) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) give_up(progress);
    for (const int end : ends) close(end);
    for (int i = 0; i < 10'000; ++i) __builtin_ia32_pause();
    progress.pass(cpu);
  }
}

[[noreturn]] void write_kmsg(VcpuId cpu, Progress& progress) {
  const int fd = open_or_give_up("/dev/kmsg", O_WRONLY, progress);
  while (true) {
    char line[96];
    // 11: facility "user", level "error", which also a quiet console shows.
    const int length = std::snprintf(line, sizeof(line), "<11>panicroom: workload kmsg on cpu%u, line %llu\n",
                                     index(cpu), static_cast<unsigned long long>(progress.passes));
    if (write(fd, line, static_cast<std::size_t>(length)) < 0) give_up(progress);
    progress.pass(cpu);
    sleep_for(20'000'000);
  }
}

[[noreturn]] void read_kexec_size(VcpuId cpu, Progress& progress) {
  int fd = open("/sys/kernel/kexec_crash_size", O_RDONLY | O_CLOEXEC);
  if (fd < 0) fd = open_or_give_up("/sys/kernel/kexec/crash_size", O_RDONLY, progress);
  while (true) {
    for (int i = 0; i < 4; ++i) {
      char text[32];
      // EBUSY: somebody else has the lock just now.
      if (pread(fd, text, sizeof(text), 0) < 0 && errno != EBUSY) give_up(progress);
      progress.pass(cpu);
    }
    sleep_for(1'000'000);
  }
}

[[noreturn]] void load_kernels(VcpuId cpu, Progress& progress) {
  const int kernel = open_or_give_up(std::string(kCaptureKernelPath).c_str(), O_RDONLY, progress);
  constexpr char kNoCommandLine[] = "";
  while (true) {
    if (syscall(SYS_kexec_file_load, kernel, -1, sizeof(kNoCommandLine), kNoCommandLine,
                static_cast<unsigned long>(KEXEC_FILE_NO_INITRAMFS)) != 0 &&
        errno != EBUSY) {
      give_up(progress);
    }
    syscall(SYS_kexec_file_load, -1, -1, 0, nullptr, static_cast<unsigned long>(KEXEC_FILE_UNLOAD));
    progress.pass(cpu);
    sleep_for(1'000'000);
  }
}

// The trigger file works whatever the sysctl kernel.sysrq forbids on the keyboard.
void press_sysrq(int fd, char key, Progress& progress) {
  if (write(fd, &key, 1) != 1) give_up(progress);
}

[[noreturn]] void press_sysrq_f(VcpuId cpu, Progress& progress) {
  const int fd = open_or_give_up("/proc/sysrq-trigger", O_WRONLY, progress);
  while (true) {
    press_sysrq(fd, 'f', progress);
    progress.pass(cpu);
    sleep_for(20'000'000);
  }
}

[[noreturn]] void set_hostname(VcpuId cpu, Progress& progress) {
  constexpr std::string_view kName = "panicroom";
  while (true) {
    if (sethostname(kName.data(), kName.size()) != 0) give_up(progress);
    progress.pass(cpu);
    sleep_for(1'000'000);
  }
}

// Of the CPU with the highest number but the calling one's. Never CPU 0, which most kernels do not let go.
std::string online_file_of_another(VcpuId cpu, Progress& progress) {
  const long last = sysconf(_SC_NPROCESSORS_CONF) - 1;
  const long other = last == static_cast<long>(index(cpu)) ? last - 1 : last;
  if (other < 1) {
    errno = ENODEV;
    give_up(progress);
  }
  return "/sys/devices/system/cpu/cpu" + std::to_string(other) + "/online";
}

void put_online(const std::string& file, bool online, Progress& progress) {
  // EBUSY: somebody keeps CPUs from coming or going just now.
  while (!write_small_file(file.c_str(), online ? "1" : "0")) {
    if (errno != EBUSY) give_up(progress);
    sleep_for(1'000'000);
  }
}

[[noreturn]] void plug_cpu(VcpuId cpu, Progress& progress) {
  const std::string file = online_file_of_another(cpu, progress);
  while (true) {
    put_online(file, false, progress);
    put_online(file, true, progress);
    progress.pass(cpu);
    sleep_for(1'000'000);
  }
}

[[noreturn]] void use_up_memory(VcpuId cpu, Progress& progress) {
  // The others are not to be killed for it: where the kernel does not panic, it is to find this process.
  write_small_file("/proc/self/oom_score_adj", "1000");
  constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
  while (true) {
    void* piece = mmap(nullptr, kPieceBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (piece == MAP_FAILED) give_up(progress);
    for (std::size_t at = 0; at < kPieceBytes; at += vmcore::kPageBytes) static_cast<volatile char*>(piece)[at] = 1;
    progress.pass(cpu);
  }
}

}  // namespace

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

void run_workload(const PinnedWorkload& pinned, Progress& progress) {
  switch (pinned.workload->kind) {
    case WorkloadKind::kIdle:
      sleep_on_and_on(pinned.cpu, progress);
    case WorkloadKind::kSyscalls:
      make_syscalls(pinned.cpu, progress);
    case WorkloadKind::kUser:
      spin_in_user_mode(pinned.cpu, progress);
    case WorkloadKind::kKmsg:
      write_kmsg(pinned.cpu, progress);
    case WorkloadKind::kKexecSize:
      read_kexec_size(pinned.cpu, progress);
    case WorkloadKind::kKexecLoad:
      load_kernels(pinned.cpu, progress);
    case WorkloadKind::kSysrqF:
      press_sysrq_f(pinned.cpu, progress);
    case WorkloadKind::kSysrqC:
      press_sysrq(open_or_give_up("/proc/sysrq-trigger", O_WRONLY, progress), 'c', progress);
      break;
    case WorkloadKind::kHostname:
      set_hostname(pinned.cpu, progress);
    case WorkloadKind::kRcu:
      make_pipes(pinned.cpu, progress);
    case WorkloadKind::kHotplug:
      plug_cpu(pinned.cpu, progress);
    case WorkloadKind::kCpuOffline:
      put_online(online_file_of_another(pinned.cpu, progress), false, progress);
      _exit(0);
    case WorkloadKind::kOom:
      use_up_memory(pinned.cpu, progress);
    case WorkloadKind::kReboot:
      syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_RESTART, nullptr);
      break;
  }
  give_up(progress);
}

}  // namespace panicroom::agent
