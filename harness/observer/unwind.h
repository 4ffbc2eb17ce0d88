// A vCPU's backtrace by the kernel's ORC tables: every caller, and none that is not one.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "harness/observer/running_kernel.h"
#include "hypervisor/registers.h"
#include "kernels/image/orc.h"

namespace panicroom::harness {

struct Backtrace {
  // The callers, innermost first: return addresses, and where an exception or interrupt came in, the instruction that
  // it interrupted. The place that the CPU is at itself is not among them.
  std::vector<Gva> callers;
  // Whether the end was reached: where the kernel was entered from user space, or a thread's first function. Otherwise
  // the stack did not make sense from there on, or there were more than `most`.
  bool complete = false;
};

using ReadStack = std::function<Result<>(Gva at, std::span<std::byte> into)>;

Backtrace unwind(const kernels::OrcTable& table, const RunningKernel& kernel, const hypervisor::Registers& registers,
                 const ReadStack& read, std::size_t most);

}  // namespace panicroom::harness
