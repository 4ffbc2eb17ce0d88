// A virtual machine of KVM's: what its vCPUs share. No interrupt controller of KVM's: the local APICs and the IOAPIC
// are panicroom's own, so every access to them ends KVM_RUN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "base/file.h"
#include "base/result.h"
#include "hypervisor/kvm/kvm_device.h"

namespace panicroom::kvm {

class Vm {
 public:
  // The MSRs whose accesses KVM is to leave to user space beside those that it does not know: IA32_APIC_BASE and
  // IA32_TSC_DEADLINE, which belong to the local APIC (SDM Vol. 3, 11.4.4 and 11.5.4.1).
  static Result<Vm> create(const KvmDevice& device);

  [[nodiscard]] int fd() const { return fd_.get(); }
  // Memory of this process as the guest's; it must outlive the machine. Whole pages.
  Result<> add_memory(Gpa at, std::span<std::byte> host);

 private:
  Vm() = default;

  UniqueFd fd_;
  std::uint32_t slots_ = 0;
};

}  // namespace panicroom::kvm
