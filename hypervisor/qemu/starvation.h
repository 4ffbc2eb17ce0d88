// How long threads waited for a CPU of the host's, as the host's scheduler counts it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <span>

namespace panicroom::qemu {

// The longest that any of a process's threads was ready to run and did not, since it was made: the second number of
// /proc/PID/task/TID/schedstat (proc(5); Documentation/scheduler/sched-stats.rst). Threads of which nothing is known,
// because they are gone or the kernel does not count, are left out; 0 if none is left.
std::chrono::nanoseconds longest_wait(pid_t process, std::span<const pid_t> threads);

}  // namespace panicroom::qemu
