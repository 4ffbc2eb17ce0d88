// What the guest's CPUID instruction shows: what KVM supports, made the vCPU's own.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"
#include "hypervisor/kvm/host_quirks.h"

namespace panicroom::kvm {

// The leaves of one vCPU of so many, all of them cores of one package; its APIC ID is its number. Without KVM's
// paravirtual leaves, so that the guest sends its IPIs through the local APIC, and without x2APIC and MWAIT. With the
// TSC-deadline timer, which is the local APIC's (Intel SDM Vol. 2A, "CPUID").
std::vector<kvm_cpuid_entry2> cpuid_of(VcpuId vcpu, std::uint32_t vcpus, std::span<const kvm_cpuid_entry2> supported,
                                       const HostQuirks& quirks);

}  // namespace panicroom::kvm
