// The signal that interrupts KVM_RUN in a vCPU's thread.
#pragma once

#include "base/result.h"

namespace panicroom::kvm {

int vcpu_signal();
// Gives the signal a handler that does nothing, so that it interrupts and no more. Once for the process; any thread.
Result<> prepare_vcpu_signal();

}  // namespace panicroom::kvm
