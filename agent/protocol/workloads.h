// The workloads that the agent can run pinned to a guest CPU: one table for both sides. The guest runs them by name;
// the host learns from here which kernel function each passes over and over, in process context and kernel mode (for
// `idle`: in the idle task), which is what the point `workload` of a scenario means.
//
// To add one: a row in workloads.cc, and its loop in agent/guest/workload_bodies.cc.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/address.h"

namespace panicroom::agent {

enum class WorkloadKind {
  kIdle,        // Sleeps 10 ms at a time: the CPU enters its idle loop again and again.
  kSyscalls,    // Makes one trivial system call, a different one on each CPU (they repeat from the 17th CPU on).
  kUser,        // Spins in user mode: the CPU enters the kernel for interrupts only.
  kKmsg,        // Writes a line to /dev/kmsg every 20 ms at a level that reaches the console.
  kKexecSize,   // Reads /sys/kernel/kexec_crash_size, which takes the kexec lock.
  kKexecLoad,   // Loads an ordinary kernel with kexec_file_load() and unloads it again.
  kSysrqF,      // Calls the OOM killer, which finds no victim and dumps its stack.
  kHostname,    // Sets the host name, for which the kernel takes a lock that others wait for asleep.
  kRcu,         // Gives RCU something to free, a pipe, over and over, and never sleeps: the CPU's tick goes on.
  kHotplug,     // Takes another CPU offline and online again.
  kSysrqC,      // Panics, once.
  kReboot,      // reboot(RB_AUTOBOOT), once.
  kCpuOffline,  // Takes another CPU offline, once.
  kOom,         // Allocates memory until there is none, once.
};

struct Workload {
  WorkloadKind kind;
  std::string_view name;  // As in a scenario's `workload: {cpu0: NAME}`.
  std::string_view summary;
  bool once = false;  // Happens once, so it can be started by a step but is no `workload:`.
};

// All of them, for messages and documentation.
std::span<const Workload> workloads();
// Null if there is no workload of that name.
const Workload* find_workload(std::string_view name);

// Empty for kUser, which passes no place of the kernel of its own accord; else the kernel function (its name in
// kallsyms) whose entry this workload (for one that happens once: its only pass) passes over and over on that CPU, at
// least every 50 ms of guest time (kHotplug: as soon as a CPU has gone and come back). No other workload, and nothing
// else that the agent does, passes it on the same CPU but where the kernel itself does (do_idle is passed by every CPU
// that has nothing to do).
std::string_view point_symbol(const Workload& workload, VcpuId cpu);

// For the guest: the number of the system call that kSyscalls makes on that CPU; all its arguments are 0.
long workload_syscall(VcpuId cpu);

}  // namespace panicroom::agent
