#include "hypervisor/kvm/cpuid.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace panicroom::kvm {
namespace {

kvm_cpuid_entry2 leaf(std::uint32_t function, std::uint32_t index, std::uint32_t value) {
  kvm_cpuid_entry2 leaf = {};
  leaf.function = function;
  leaf.index = index;
  leaf.eax = leaf.ebx = leaf.ecx = leaf.edx = value;
  return leaf;
}

const std::vector<kvm_cpuid_entry2> kSupported{leaf(0, 0, 0x1f),       leaf(1, 0, 0xffffffff & ~(1U << 24)),
                                               leaf(4, 0, 0),          leaf(5, 0, 1),
                                               leaf(0xb, 0, 7),        leaf(0xb, 1, 7),
                                               leaf(0x40000000, 0, 1), leaf(0x40000001, 0, 1)};

const kvm_cpuid_entry2* find(const std::vector<kvm_cpuid_entry2>& leaves, std::uint32_t function,
                             std::uint32_t index = 0) {
  const auto found = std::find_if(leaves.begin(), leaves.end(), [&](const kvm_cpuid_entry2& one) {
    return one.function == function && one.index == index;
  });
  return found == leaves.end() ? nullptr : &*found;
}

TEST(Cpuid, NamesTheVcpuAndItsMachine) {
  const auto leaves = cpuid_of(VcpuId{2}, 3, kSupported, {});
  const auto* features = find(leaves, 1);
  ASSERT_NE(features, nullptr);
  EXPECT_EQ(features->ebx >> 24, 2U) << "the APIC's ID";
  EXPECT_EQ((features->ebx >> 16) & 0xff, 3U);
  const auto* cores = find(leaves, 0xb, 1);
  ASSERT_NE(cores, nullptr);
  EXPECT_EQ(cores->edx, 2U);
  EXPECT_EQ(cores->ebx, 3U);
  EXPECT_EQ(cores->eax, 2U) << "bits of the ID below the package";
  EXPECT_EQ(find(leaves, 0xb, 0)->ebx, 1U) << "no hyper-threads";
}

TEST(Cpuid, LeavesInterruptsToTheLocalApic) {
  const auto leaves = cpuid_of(VcpuId{0}, 1, kSupported, {});
  EXPECT_EQ(find(leaves, 0x40000000), nullptr);
  EXPECT_EQ(find(leaves, 0x40000001), nullptr);
  EXPECT_EQ(find(leaves, 5), nullptr);
  const auto* features = find(leaves, 1);
  EXPECT_EQ(features->ecx & (1U << 21), 0U) << "x2APIC";
  EXPECT_EQ(features->ecx & (1U << 3), 0U) << "MONITOR";
  EXPECT_NE(features->ecx & (1U << 24), 0U) << "the TSC-deadline timer";
  EXPECT_EQ(features->edx & (1U << 28), 0U) << "it is alone";
}

}  // namespace
}  // namespace panicroom::kvm
