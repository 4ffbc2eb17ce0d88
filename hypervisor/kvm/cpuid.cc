#include "hypervisor/kvm/cpuid.h"

#include <algorithm>
#include <bit>

namespace panicroom::kvm {
namespace {

constexpr std::uint32_t bit(unsigned number) { return 1U << number; }

constexpr std::uint32_t kFeatures = 1;
constexpr std::uint32_t kCaches = 4;
constexpr std::uint32_t kMwait = 5;
constexpr std::uint32_t kTopology = 0xb;
constexpr std::uint32_t kTopologyV2 = 0x1f;
constexpr std::uint32_t kParavirtualFirst = 0x40000000;
constexpr std::uint32_t kParavirtualLast = 0x4fffffff;

constexpr std::uint32_t kDtes64AndMonitor = bit(2) | bit(3);
constexpr std::uint32_t kVmx = bit(5);
constexpr std::uint32_t kX2apic = bit(21);
constexpr std::uint32_t kTscDeadline = bit(24);
constexpr std::uint32_t kHypervisor = bit(31);
constexpr std::uint32_t kSeveralLogicalProcessors = bit(28);  // EDX: HTT.

// Levels of leaf 0xb: threads of a core, cores of a package, no more.
void set_topology(kvm_cpuid_entry2& leaf, std::uint32_t id, std::uint32_t vcpus) {
  constexpr std::uint32_t kThreads = 1;
  constexpr std::uint32_t kCores = 2;
  const auto package_shift = static_cast<std::uint32_t>(std::bit_width(vcpus - 1));
  leaf.eax = leaf.index == 0 ? 0 : (leaf.index == 1 ? package_shift : 0);
  leaf.ebx = leaf.index == 0 ? 1 : (leaf.index == 1 ? vcpus : 0);
  leaf.ecx = leaf.index | ((leaf.index == 0 ? kThreads : (leaf.index == 1 ? kCores : 0)) << 8);
  leaf.edx = id;
}

}  // namespace

std::vector<kvm_cpuid_entry2> cpuid_of(VcpuId vcpu, std::uint32_t vcpus, std::span<const kvm_cpuid_entry2> supported,
                                       const HostQuirks& quirks) {
  const auto id = index(vcpu);
  std::vector<kvm_cpuid_entry2> leaves;
  for (auto leaf : supported) {
    const bool paravirtual = leaf.function >= kParavirtualFirst && leaf.function <= kParavirtualLast;
    if (paravirtual || leaf.function == kMwait) continue;
    if (leaf.function == kFeatures) {
      leaf.ebx = (leaf.ebx & 0xffff) | (vcpus << 16) | (id << 24);
      leaf.ecx &= ~(kDtes64AndMonitor | kVmx | kX2apic);
      leaf.ecx |= kTscDeadline | kHypervisor;
      leaf.edx &= ~kSeveralLogicalProcessors;
      if (vcpus > 1) leaf.edx |= kSeveralLogicalProcessors;
    }
    if (leaf.function == kCaches) {
      // Bits 31:26: cores of a package; 25:14: threads that share the cache, here none but its own.
      const auto cores = std::bit_ceil(vcpus) - 1;
      leaf.eax = (leaf.eax & 0x3fff) | (std::min(cores, 63U) << 26);
    }
    if (leaf.function == kTopology || leaf.function == kTopologyV2) {
      if (leaf.index > 2) continue;
      set_topology(leaf, id, vcpus);
    }
    leaves.push_back(leaf);
  }
  hide_refused_features(quirks, leaves);
  return leaves;
}

}  // namespace panicroom::kvm
