#include "hypervisor/kvm/vcpu_signal.h"

#include <cerrno>
#include <csignal>

namespace panicroom::kvm {

int vcpu_signal() { return SIGRTMIN + 3; }

Result<> prepare_vcpu_signal() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};  // No SA_RESTART: KVM_RUN is to end.
  if (::sigaction(vcpu_signal(), &action, nullptr) != 0) return errno_error(errno, "preparing the signal for vCPUs");
  return {};
}

}  // namespace panicroom::kvm
