#include "agent/guest/workload_bodies.h"

#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

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
    case WorkloadKind::kReboot:
      syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_RESTART, nullptr);
      break;
  }
  give_up(progress);
}

}  // namespace panicroom::agent
