#include "agent/protocol/workloads.h"

#include <sys/syscall.h>

#include <algorithm>
#include <array>

namespace panicroom::agent {
namespace {

constexpr std::array kWorkloads = {
    Workload{WorkloadKind::kIdle, "idle", "sleeps: the CPU enters its idle loop again and again"},
    Workload{WorkloadKind::kSyscalls, "syscalls",
             "makes a trivial system call over and over, a different one on each CPU"},
    Workload{WorkloadKind::kUser, "user", "spins in user mode: the kernel runs there for interrupts only"},
    Workload{WorkloadKind::kKmsg, "kmsg", "writes to /dev/kmsg: printk through the console"},
    Workload{WorkloadKind::kKexecSize, "kexec-size", "reads /sys/kernel/kexec_crash_size, which takes the kexec lock"},
    Workload{WorkloadKind::kKexecLoad, "kexec-load",
             "loads an ordinary kernel with kexec_file_load() and unloads it again"},
    Workload{WorkloadKind::kSysrqF, "sysrq-f", "calls the OOM killer by SysRq: it finds no victim and dumps its stack"},
    Workload{WorkloadKind::kHostname, "hostname",
             "sets the host name, which takes a lock of the kernel's for which others wait asleep"},
    Workload{WorkloadKind::kRcu, "rcu", "has RCU free something over and over, and spins in user mode between"},
    Workload{WorkloadKind::kHotplug, "hotplug", "takes the last other CPU offline and online again"},
    Workload{WorkloadKind::kSysrqC, "sysrq-c", "crashes the kernel by SysRq", true},
    Workload{WorkloadKind::kReboot, "reboot", "reboots the machine", true},
    Workload{WorkloadKind::kCpuOffline, "cpu-offline", "takes the last other CPU offline", true},
    Workload{WorkloadKind::kOom, "oom", "allocates memory until there is none", true},
};

struct TrivialSyscall {
  long number;
  std::string_view symbol;
};
// Without effect when every argument is 0, present in every x86-64 kernel, and called by nothing else in the guest.
constexpr std::array kTrivialSyscalls = {
    TrivialSyscall{SYS_getppid, "__x64_sys_getppid"},
    TrivialSyscall{SYS_getuid, "__x64_sys_getuid"},
    TrivialSyscall{SYS_getgid, "__x64_sys_getgid"},
    TrivialSyscall{SYS_geteuid, "__x64_sys_geteuid"},
    TrivialSyscall{SYS_getegid, "__x64_sys_getegid"},
    TrivialSyscall{SYS_getpgrp, "__x64_sys_getpgrp"},
    TrivialSyscall{SYS_getpgid, "__x64_sys_getpgid"},
    TrivialSyscall{SYS_getsid, "__x64_sys_getsid"},
    TrivialSyscall{SYS_sched_getscheduler, "__x64_sys_sched_getscheduler"},
    TrivialSyscall{SYS_sched_get_priority_max, "__x64_sys_sched_get_priority_max"},
    TrivialSyscall{SYS_sched_get_priority_min, "__x64_sys_sched_get_priority_min"},
    TrivialSyscall{SYS_getpriority, "__x64_sys_getpriority"},
    TrivialSyscall{SYS_gettid, "__x64_sys_gettid"},
    TrivialSyscall{SYS_personality, "__x64_sys_personality"},
    TrivialSyscall{SYS_ioprio_get, "__x64_sys_ioprio_get"},
    TrivialSyscall{SYS_times, "__x64_sys_times"},
};

const TrivialSyscall& trivial_syscall(VcpuId cpu) { return kTrivialSyscalls[index(cpu) % kTrivialSyscalls.size()]; }

}  // namespace

std::span<const Workload> workloads() { return kWorkloads; }

const Workload* find_workload(std::string_view name) {
  const auto found = std::ranges::find(kWorkloads, name, &Workload::name);
  return found == kWorkloads.end() ? nullptr : &*found;
}

std::string_view point_symbol(const Workload& workload, VcpuId cpu) {
  switch (workload.kind) {
    case WorkloadKind::kIdle:
      return "do_idle";
    case WorkloadKind::kSyscalls:
      return trivial_syscall(cpu).symbol;
    case WorkloadKind::kUser:
      return {};
    case WorkloadKind::kKmsg:
      return "devkmsg_write";
    case WorkloadKind::kKexecSize:
      return "crash_get_memory_size";
    case WorkloadKind::kKexecLoad:
      return "__x64_sys_kexec_file_load";
    case WorkloadKind::kSysrqF:
    case WorkloadKind::kSysrqC:
      return "write_sysrq_trigger";
    case WorkloadKind::kHostname:
      return "__x64_sys_sethostname";
    case WorkloadKind::kRcu:
      return "__x64_sys_pipe2";
    case WorkloadKind::kHotplug:
    case WorkloadKind::kCpuOffline:
      return "cpu_device_down";
    case WorkloadKind::kReboot:
      return "__x64_sys_reboot";
    case WorkloadKind::kOom:
      return "out_of_memory";
  }
  return {};
}

long workload_syscall(VcpuId cpu) { return trivial_syscall(cpu).number; }

}  // namespace panicroom::agent
