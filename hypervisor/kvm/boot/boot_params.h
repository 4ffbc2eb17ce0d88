// What a boot loader leaves in low memory for the kernel: struct boot_params ("zero page"), the command line, page
// tables, a GDT, a seed for its random numbers; where each lies; and the memory map. Documentation/arch/x86/boot.rst
// and zero-page.rst in the kernel's source; the structures are <asm/bootparam.h>'s.
//
// All of it lies below kBootStructuresEnd and is dead once the kernel has its own, but for the seed, which boot_params
// leads to. Leaves out 0x8000 to 0x9000, where small guests have their startup code for the other vCPUs, and the last
// pages below 640 KiB, where Linux' decompressor puts its trampoline.
#pragma once

#include <asm/bootparam.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "hypervisor/kvm/memory/guest_memory.h"

namespace panicroom::kvm {

inline constexpr Gpa kBootStructures{0x10000};
inline constexpr Gpa kZeroPage = kBootStructures;
inline constexpr Gpa kGdt{0x11000};
inline constexpr std::uint16_t kGdtLimit = 4 * 8 - 1;
inline constexpr Gpa kPageTables{0x12000};  // PML4, PDPT and four page directories.
inline constexpr Gpa kBootStackTop{0x1c000};
inline constexpr Gpa kCommandLine{0x20000};
inline constexpr std::uint64_t kCommandLineBytes = 0x10000;  // The closing NUL included.
inline constexpr Gpa kSetupData{0x30000};
inline constexpr Gpa kBootStructuresEnd{0x31000};

// The end of conventional memory, and of the first MiB with the reserved area.
inline constexpr Gpa kLowMemoryEnd{0x9fc00};
inline constexpr Gpa kFirstMiBEnd{0x100000};

inline constexpr std::size_t kRngSeedBytes = 32;
using RngSeed = std::array<std::byte, kRngSeedBytes>;

// RAM and what of it is reserved, as e820 tells it, in ascending order.
std::vector<boot_e820_entry> memory_map(const GuestMemory& memory);

// Puts the GDT and page tables that map the first 4 GiB to themselves into memory.
Result<> write_tables(GuestMemory& memory);

struct Initramfs {
  Gpa begin;
  std::uint32_t bytes = 0;
};

// Fills in what the loader has to say in `header` (the kernel's own, or a blank one), and writes the zero page with it,
// the command line and the seed. The command line has been checked.
Result<> write_boot_params(GuestMemory& memory, setup_header header, std::string_view cmdline, Initramfs initramfs,
                           Gpa rsdp, const RngSeed& seed);

}  // namespace panicroom::kvm
