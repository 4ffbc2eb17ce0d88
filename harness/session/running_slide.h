// The KASLR slide of a machine's kernel.
#pragma once

#include "base/address.h"
#include "base/result.h"
#include "hypervisor/machine.h"
#include "kernels/image/kernel_image.h"

namespace panicroom::harness {

// The machine is stopped. May execute instructions, until a CPU is in the kernel. Errors as those of
// kernels::find_kaslr_slide(), and the machine's.
Result<KaslrSlide> find_running_slide(hypervisor::Machine& machine, const kernels::KernelImage& image);

}  // namespace panicroom::harness
