// Which memory of the machine is compared with the dump: chosen before the machine boots, the same for the host, which
// looks at it at the jump, and for the agent, which looks into the vmcore.
#pragma once

#include <cstdint>

#include "agent/vmcore/samples.h"
#include "kernels/image/kernel_image.h"

namespace panicroom::harness {

// Pages of the kernel's code, constants, data and .bss, spread over each; the log buffer; the page tables; and pages
// spread over all of the machine's memory. The same for the same kernel and size; what lies there differs with each
// boot, by KASLR. What this kernel has no symbol for is left out.
vmcore::SamplePlan plan_samples(const kernels::KernelImage& kernel, std::uint64_t memory_bytes);

// Whether nothing writes there once the kernel has booted: its code and constants.
bool is_constant(const kernels::KernelImage& kernel, LinkAddress address);

}  // namespace panicroom::harness
