// Where each vCPU is: for the report of a run that did not end in a dump.
#pragma once

#include <optional>
#include <vector>

#include "harness/observer/running_kernel.h"
#include "hypervisor/machine.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// One entry per vCPU. The machine must be stopped. `jumped` is the vCPU that has gone to the capture kernel, if one
// has: there that kernel's own slide is looked for, and addresses that it explains are named after it; it has only this
// vCPU (nr_cpus=1), the others are where the first kernel has left them. What cannot be read is left empty: this never
// fails, because it is asked for when something has gone wrong already.
std::vector<v1::CpuPlace> places(hypervisor::Machine& machine, const RunningKernel& first,
                                 const kernels::KernelImage& capture, std::optional<VcpuId> jumped);

}  // namespace panicroom::harness
