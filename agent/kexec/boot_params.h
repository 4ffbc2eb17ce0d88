// The page by which a boot loader tells an x86 kernel about its machine ("zero page", Documentation/arch/x86/boot.rst
// and zero-page.rst), as kexec-tools or the kernel's own kexec-bzimage64.c make it for a capture kernel: its memory is
// the low megabyte, which kernels with crashkernel= keep free for it, and its part of the crash memory. Leaves out
// EFI's runtime services: the machines under test have a BIOS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "agent/kexec/iomem.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::kexec {

inline constexpr std::size_t kBootParamsBytes = 4096;
// COMMAND_LINE_SIZE of x86, with the terminating zero.
inline constexpr std::size_t kCommandLineBytes = 2048;
// The setup_data that holds the seed, with it.
inline constexpr std::size_t kSeedBytes = 32;
inline constexpr std::size_t kSeedDataBytes = 16 + kSeedBytes;

struct BootParamsPlan {
  // The running kernel's own (/sys/kernel/boot_params/data): its screen, and where the ACPI tables begin.
  Bytes running;
  PhysicalMap machine;
  PhysicalRange usable;  // Of the crash memory.
  Gpa command_line;
  PhysicalRange initrd;
  Gpa seed_data;
};

// kBootParamsBytes of them. kInvalidInput if `running` is too short, or if the machine has more ranges of memory than
// fit (128).
Result<std::vector<std::byte>> build_boot_params(const BootParamsPlan& plan);

// The setup_data (SETUP_RNG_SEED) that gives the kernel randomness to begin with: there is nobody to wait for in a
// capture kernel. `seed` has kSeedBytes. Kernels before 6.0 pass over it.
std::vector<std::byte> build_seed_data(Bytes seed);

}  // namespace panicroom::kexec
