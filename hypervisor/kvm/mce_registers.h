// The registers in which a vCPU reports machine checks: Intel SDM Vol. 3B, 15.3, figure 15-1.
#pragma once

#include <cstdint>

namespace panicroom::kvm::mce {

// IA32_MCG_CAP (15.3.1.1): the number of banks in bits 7:0, and whether there is an IA32_MCG_CTL.
inline constexpr std::uint64_t kGlobalControlPresent = 1ull << 8;
inline constexpr std::uint32_t kMsrGlobalControl = 0x17b;

// Bank i has IA32_MCi_CTL, _STATUS, _ADDR and _MISC, in this order (15.3.2).
inline constexpr std::uint32_t kMsrFirstBank = 0x400;
inline constexpr std::uint32_t kMsrsOfABank = 4;

// IA32_MCi_STATUS (15.3.2.2).
inline constexpr std::uint64_t kValid = 1ull << 63;
inline constexpr std::uint64_t kUncorrected = 1ull << 61;

}  // namespace panicroom::kvm::mce
