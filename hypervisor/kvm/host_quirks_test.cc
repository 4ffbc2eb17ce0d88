#include "hypervisor/kvm/host_quirks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hypervisor/kvm/kvm_machine.h"

namespace panicroom::kvm {
namespace {

constexpr std::uint64_t kLstar = 0xffffffff81a00080;
constexpr std::uint64_t kReturn = 0x401002;

// As the defective SYSCALL leaves it, with Linux' segments and masks.
PageFaultEntry syscall_fault() {
  PageFaultEntry fault;
  fault.error_code = 0x15;  // Present, user, instruction fetch.
  fault.rip = kLstar;
  fault.cs = 0x33;
  fault.rsp = 0x7ffc0000;
  fault.cr2 = kLstar;
  fault.rcx = kReturn;
  fault.r11 = 0x246;
  fault.lstar = kLstar;
  fault.star = 0x0023001000000000;
  fault.fmask = 0x257fd5;
  fault.before_rcx = {std::byte{0x0f}, std::byte{0x05}};
  return fault;
}

TEST(FailedSyscall, BecomesWhatTheProcessorWouldHaveMadeOfIt) {
  const auto entry = failed_syscall(syscall_fault());
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->rip, kLstar);
  EXPECT_EQ(entry->rsp, 0x7ffc0000U) << "SYSCALL changes no stack";
  EXPECT_EQ(entry->cs, 0x10);
  EXPECT_EQ(entry->ss, 0x18);
  EXPECT_EQ(entry->rflags & hypervisor::kRflagsIf, 0U) << "FMASK masks it";
  EXPECT_EQ(entry->rflags & hypervisor::kRflagsFixed, hypervisor::kRflagsFixed);
}

TEST(FailedSyscall, TakesThePrivilegeLevelFromNobody) {
  auto fault = syscall_fault();
  fault.star = 0x0023001300000000;
  EXPECT_EQ(failed_syscall(fault)->cs, 0x10);
}

// What a user program could do to get into the kernel: jump to LSTAR.
TEST(FailedSyscall, IsNoJumpOfTheUsersToTheHandler) {
  for (const auto bytes :
       {std::array{std::byte{0xff}, std::byte{0xe0}}, std::array{std::byte{0}, std::byte{0}},
        std::array{std::byte{0x05}, std::byte{0x0f}}, std::array{std::byte{0x0f}, std::byte{0x34}}}) {
    auto fault = syscall_fault();
    fault.before_rcx = bytes;
    EXPECT_FALSE(failed_syscall(fault));
  }
}

TEST(FailedSyscall, IsNoOtherFault) {
  const auto refused = [](auto&& change) {
    auto fault = syscall_fault();
    change(fault);
    return !failed_syscall(fault);
  };
  EXPECT_TRUE(refused([](PageFaultEntry& fault) { fault.cs = 0x10; })) << "the kernel's own";
  EXPECT_TRUE(refused([](PageFaultEntry& fault) { fault.rip += 1; }));
  EXPECT_TRUE(refused([](PageFaultEntry& fault) { fault.cr2 = 0x1000; }));
  EXPECT_TRUE(refused([](PageFaultEntry& fault) { fault.error_code = 0x14; })) << "the page is not there";
  EXPECT_TRUE(refused([](PageFaultEntry& fault) { fault.error_code = 0x11; })) << "not by the user";
  EXPECT_TRUE(refused([](PageFaultEntry& fault) { fault.lstar = fault.rip = fault.cr2 = 0; }));
}

std::vector<kvm_cpuid_entry2> some_cpuid() {
  std::vector<kvm_cpuid_entry2> leaves;
  for (const auto function : {0U, 1U, 6U, 7U, 0xdU, 0x40000000U, 0x80000001U}) {
    kvm_cpuid_entry2 leaf = {};
    leaf.function = function;
    leaf.eax = leaf.ebx = leaf.ecx = leaf.edx = 0xffffffff;
    leaves.push_back(leaf);
  }
  leaves[0].eax = 0x1f;
  return leaves;
}

TEST(HostQuirks, AHostWithoutThemHidesNothing) {
  const auto before = some_cpuid();
  auto after = before;
  hide_refused_features({}, after);
  ASSERT_EQ(after.size(), before.size());
  EXPECT_EQ(after[0].eax, 0x1fU);
  EXPECT_EQ(after[1].ecx, 0xffffffffU);
  EXPECT_EQ(HostQuirks{}.describe(), "none");
  EXPECT_FALSE(HostQuirks{}.any());
}

TEST(HostQuirks, AnEmulatingHostHidesWhatItsEmulatorRefuses) {
  HostQuirks quirks;
  quirks.emulates_kernel_code = true;
  auto leaves = some_cpuid();
  hide_refused_features(quirks, leaves);
  ASSERT_EQ(leaves.size(), 5U);
  EXPECT_EQ(leaves[0].eax, 6U);
  EXPECT_EQ(leaves[1].ecx & (1U << 23), 0U) << "POPCNT";
  EXPECT_EQ(leaves[1].ecx & (1U << 26), 0U) << "XSAVE";
  EXPECT_EQ(leaves[1].ecx & (1U << 13), 0U) << "CMPXCHG16B";
  EXPECT_NE(leaves[1].ecx & (1U << 0), 0U) << "SSE3 is none of them";
  EXPECT_EQ(leaves[3].function, 0x40000000U);
  EXPECT_EQ(quirks.describe(), "kernel code is emulated");
}

TEST(HostQuirks, AreFoundTheSameEveryTime) {
  if (const auto usable = kvm::usable(); !usable) GTEST_SKIP() << usable.error().message();
  const auto device = KvmDevice::open();
  ASSERT_TRUE(device) << device.error().message();
  const auto first = probe_host(*device);
  const auto second = probe_host(*device);
  ASSERT_TRUE(first) << first.error().message();
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ(first->quirks.describe(), second->quirks.describe());
}

}  // namespace
}  // namespace panicroom::kvm
