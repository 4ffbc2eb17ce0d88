#include "hypervisor/kvm/host_quirks.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace panicroom::kvm {
namespace {

constexpr std::uint64_t kUserPrivilege = 3;
// SDM Vol. 3A, 4.7, figure 4-12.
constexpr std::uint64_t kErrorPresent = 1U << 0;
constexpr std::uint64_t kErrorUser = 1U << 2;

constexpr std::uint32_t bit(unsigned number) { return 1U << number; }

}  // namespace

std::string HostQuirks::describe() const {
  std::vector<std::string_view> names;
  if (emulates_kernel_code) names.emplace_back("kernel code is emulated");
  if (syscall_keeps_user_segments) names.emplace_back("SYSCALL keeps the user's segments");
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

// CPUID: SDM Vol. 2A, "CPUID".
void hide_refused_features(const HostQuirks& quirks, std::vector<kvm_cpuid_entry2>& cpuid) {
  if (!quirks.emulates_kernel_code) return;
  // Where leaf 7's features cannot be taken away, the guest must not know of the leaf: SMAP's CLAC and STAC are
  // refused.
  constexpr std::uint32_t kHighest = 6;
  constexpr std::uint32_t kHypervisor = 0x40000000;
  std::erase_if(cpuid,
                [&](const kvm_cpuid_entry2& leaf) { return leaf.function > kHighest && leaf.function < kHypervisor; });
  for (auto& leaf : cpuid) {
    if (leaf.function == 0) leaf.eax = std::min(leaf.eax, kHighest);
    if (leaf.function == 1) {
      // As far as KVM lets them be masked, which POPCNT is known not to be: PCLMULQDQ, SSSE3, FMA, CMPXCHG16B, SSE4.1,
      // SSE4.2, MOVBE, POPCNT, AES, XSAVE, OSXSAVE, AVX, F16C, RDRAND; PCID, whose flushes are made by INVPCID or not
      // at all.
      for (const unsigned number : {1U, 9U, 12U, 13U, 17U, 19U, 20U, 22U, 23U, 25U, 26U, 27U, 28U, 29U, 30U}) {
        leaf.ecx &= ~bit(number);
      }
    }
  }
}

std::optional<SyscallEntry> failed_syscall(const PageFaultEntry& fault) {
  constexpr std::array kSyscall{std::byte{0x0f}, std::byte{0x05}};
  if ((fault.cs & kUserPrivilege) != kUserPrivilege) return std::nullopt;
  // A protection violation by the user: the kernel's page is there, and not the user's.
  if ((fault.error_code & (kErrorPresent | kErrorUser)) != (kErrorPresent | kErrorUser)) return std::nullopt;
  if (fault.lstar == 0 || fault.rip != fault.lstar || fault.cr2 != fault.lstar) return std::nullopt;
  if (fault.before_rcx != kSyscall) return std::nullopt;
  // SDM Vol. 2B, "SYSCALL": CS from STAR 47:32, SS after it; RFLAGS without what FMASK masks, RF clear.
  SyscallEntry entry;
  entry.rip = fault.lstar;
  entry.rsp = fault.rsp;
  entry.rflags = (fault.r11 & ~fault.fmask & ~hypervisor::kRflagsRf) | hypervisor::kRflagsFixed;
  entry.cs = static_cast<std::uint16_t>((fault.star >> 32) & 0xfffc);
  entry.ss = static_cast<std::uint16_t>(entry.cs + 8);
  return entry;
}

}  // namespace panicroom::kvm
