// How long threads waited for a CPU of the host's, as the host's scheduler counts it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <span>

namespace panicroom::hypervisor {

// How long a process's threads were ready to run and did not, since they were made, all together: the second number of
// /proc/PID/task/TID/schedstat (proc(5); Documentation/scheduler/sched-stats.rst). Threads of which nothing is known,
// because they are gone or the kernel does not count, are left out.
std::chrono::nanoseconds total_wait(pid_t process, std::span<const pid_t> threads);

// What a guest in `process` has to wait for: its vCPUs' threads, the process's first thread, which makes timer
// interrupts and does input and output, and the calling thread, which lets the guest go on after each stop. A sum, and
// so rather too long than too short where several wait at a time: which of them the guest needed is not known.
std::chrono::nanoseconds wait_of_guest(pid_t process, std::span<const pid_t> vcpu_threads);

}  // namespace panicroom::hypervisor
