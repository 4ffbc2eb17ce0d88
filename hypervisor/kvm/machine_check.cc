// A vCPU's machine checks: Documentation/virt/kvm/api.rst, 4.104 to 4.106 (KVM_X86_GET_MCE_CAP_SUPPORTED, _SETUP_MCE,
// _SET_MCE).
#include <fmt/format.h>

#include "hypervisor/kvm/mce_registers.h"
#include "hypervisor/kvm/vcpu.h"

namespace panicroom::kvm {

Result<> Vcpu::set_up_machine_checks(const KvmDevice& device) {
  if (device.extension(KVM_CAP_MCE) < static_cast<int>(kMceBanks)) return {};
  std::uint64_t supported = 0;
  if (call(device.fd(), KVM_X86_GET_MCE_CAP_SUPPORTED, &supported) < 0) {
    return errno_error(errno, "KVM_X86_GET_MCE_CAP_SUPPORTED");
  }
  const std::uint64_t wanted = kMceBanks | (supported & mce::kGlobalControlPresent);
  if (call(fd_.get(), KVM_X86_SETUP_MCE, &wanted) < 0) return errno_error(errno, "KVM_X86_SETUP_MCE");
  machine_checks_ = true;
  return {};
}

Result<> Vcpu::inject_mce(const hypervisor::MachineCheck& error) {
  if (error.bank >= kMceBanks)
    return invalid_input("machine check {}: there are the banks 0 to {}", to_text(error), kMceBanks - 1);
  if ((error.status & mce::kValid) == 0)
    return invalid_input("machine check {}: bit 63 is clear, so it is none", to_text(error));
  // KVM says nothing of those that it leaves out.
  constexpr std::uint64_t kOn = ~std::uint64_t{0};
  if ((error.status & mce::kUncorrected) != 0 &&
      (TRY(msr(mce::kMsrFirstBank + mce::kMsrsOfABank * error.bank)) != kOn ||
       TRY(msr(mce::kMsrGlobalControl)) != kOn)) {
    return invalid_input("machine check {}: the guest has turned that bank off", to_text(error));
  }
  kvm_x86_mce mce = {};
  mce.bank = static_cast<std::uint8_t>(error.bank);
  mce.status = error.status;
  mce.mcg_status = global_status(error);
  if (call(fd_.get(), KVM_X86_SET_MCE, &mce) < 0) return errno_error(errno, "KVM_X86_SET_MCE");
  return {};
}

}  // namespace panicroom::kvm
