// Where each vCPU is: for the report of a run that did not end in a dump.
#pragma once

#include <vector>

#include "harness/observer/running_kernel.h"
#include "hypervisor/machine.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// One entry per vCPU. The machine must be stopped. `after_jump` says that the capture kernel may be the one that runs:
// then its own slide is looked for, and addresses that it explains are named after it. What cannot be read is left
// empty: this never fails, because it is asked for when something has gone wrong already.
std::vector<v1::CpuPlace> places(hypervisor::Machine& machine, const RunningKernel& first,
                                 const kernels::KernelImage& capture, bool after_jump);

}  // namespace panicroom::harness
