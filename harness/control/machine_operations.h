// The operations that look at a machine which stands still and change what is in it: registers, memory, symbols.
// Requests are a stranger's: every number in them is checked here.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "harness/observer/running_kernel.h"
#include "hypervisor/machine.h"
#include "panicroom/v1/control.pb.h"

namespace panicroom::control {

inline constexpr std::size_t kMaxMemoryBytes = std::size_t{64} * 1024;  // Of one request.

v1::VcpuRegisters to_proto(const hypervisor::Registers& registers);
// Those that are present; the others stay.
void apply(const v1::VcpuRegisters& values, hypervisor::Registers& registers);

// kInvalidInput for what is wrong with a request and for memory that is not mapped; else the machine's errors.
Result<v1::VcpuRegisters> read_registers(hypervisor::Machine& machine, const v1::ReadRegistersOperation& operation);
Result<> write_registers(hypervisor::Machine& machine, const v1::WriteRegistersOperation& operation);
Result<v1::ReadMemoryResult> read_memory(hypervisor::Machine& machine, const v1::ReadMemoryOperation& operation);
Result<> write_memory(hypervisor::Machine& machine, const v1::WriteMemoryOperation& operation);

// Needs no machine. kUnsupported if the kernel has no such symbol, several of that name, or none at that address.
Result<v1::LookUpSymbolResult> look_up_symbol(const harness::RunningKernel& kernel,
                                              const v1::LookUpSymbolOperation& operation);

}  // namespace panicroom::control
