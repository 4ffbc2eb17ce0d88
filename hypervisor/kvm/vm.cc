#include "hypervisor/kvm/vm.h"

#include <fmt/format.h>
#include <linux/kvm.h>

#include <array>

namespace panicroom::kvm {
namespace {

constexpr std::uint32_t kApicBase = 0x1b;
constexpr std::uint32_t kTscDeadline = 0x6e0;

// Where Intel's virtualisation keeps three pages of its own (KVM_SET_TSS_ADDR) and one (KVM_SET_IDENTITY_MAP_ADDR): in
// the hole below 4 GiB, where the firmware's ROM would be.
constexpr unsigned long kTssAddress = 0xfffbd000;
constexpr std::uint64_t kIdentityMapAddress = 0xfffbc000;

Result<> leave_msrs_to_us(int vm) {
  kvm_enable_cap capability = {};
  capability.cap = KVM_CAP_X86_USER_SPACE_MSR;
  capability.args[0] = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER;
  if (call(vm, KVM_ENABLE_CAP, &capability) < 0) return errno_error(errno, "KVM_ENABLE_CAP KVM_CAP_X86_USER_SPACE_MSR");
  // A bit that is clear denies the access, which then is ours.
  static std::uint8_t none = 0;
  kvm_msr_filter filter = {};
  filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
  constexpr std::array kOurs{kApicBase, kTscDeadline};
  for (std::size_t i = 0; i < kOurs.size(); ++i) {
    filter.ranges[i].flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
    filter.ranges[i].nmsrs = 1;
    filter.ranges[i].base = kOurs[i];
    filter.ranges[i].bitmap = &none;
  }
  if (call(vm, KVM_X86_SET_MSR_FILTER, &filter) < 0) return errno_error(errno, "KVM_X86_SET_MSR_FILTER");
  return {};
}

// Makes a triple fault that has not been reported yet part of KVM_GET_VCPU_EVENTS: if two vCPUs shut down together, the
// second one's would outlive a restore.
Result<> show_triple_faults(int vm) {
  kvm_enable_cap capability = {};
  capability.cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT;
  capability.args[0] = 1;
  if (call(vm, KVM_ENABLE_CAP, &capability) < 0) {
    return errno_error(errno, "KVM_ENABLE_CAP KVM_CAP_X86_TRIPLE_FAULT_EVENT");
  }
  return {};
}

}  // namespace

Result<Vm> Vm::create(const KvmDevice& device) {
  Vm vm;
  vm.fd_ = UniqueFd(call(device.fd(), KVM_CREATE_VM, 0UL));
  if (!vm.fd_) return errno_error(errno, "KVM_CREATE_VM");
  if (call(vm.fd(), KVM_SET_TSS_ADDR, kTssAddress) < 0) return errno_error(errno, "KVM_SET_TSS_ADDR");
  if (call(vm.fd(), KVM_SET_IDENTITY_MAP_ADDR, &kIdentityMapAddress) < 0) {
    return errno_error(errno, "KVM_SET_IDENTITY_MAP_ADDR");
  }
  TRY(leave_msrs_to_us(vm.fd()));
  TRY(show_triple_faults(vm.fd()));
  return vm;
}

Result<> Vm::add_memory(Gpa at, std::span<std::byte> host) {
  kvm_userspace_memory_region region = {};
  region.slot = slots_;
  region.guest_phys_addr = at.value;
  region.memory_size = host.size();
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(host.data());
  if (call(fd(), KVM_SET_USER_MEMORY_REGION, &region) < 0) {
    return errno_error(errno, fmt::format("KVM_SET_USER_MEMORY_REGION for {} bytes at {}", host.size(), at));
  }
  ++slots_;
  return {};
}

}  // namespace panicroom::kvm
