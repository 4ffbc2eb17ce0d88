// What of an ELF vmlinux lies in memory when the kernel begins: its PT_LOADs by their physical addresses. x86-64
// kernels are linked for one place and run in any other that is as far away as a multiple of kKernelAlignment:
// startup_64() corrects its page tables by the distance (CONFIG_RELOCATABLE).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::kexec {

inline constexpr std::uint64_t kPageBytes = 4096;
// PMD_SIZE, the smallest that CONFIG_PHYSICAL_ALIGN can be.
inline constexpr std::uint64_t kKernelAlignment = std::uint64_t{2} << 20;
// Kernels have four or five.
inline constexpr std::size_t kMaxKernelParts = 12;

struct KernelPart {
  Gpa at;                   // As linked; at a page.
  Bytes content;            // Of the file.
  std::uint64_t bytes = 0;  // In memory, in whole pages; what is not in the file is zero.
};

struct Vmlinux {
  Gpa entry;  // As linked.
  // Ascending, none overlaps; not empty. Of no part is there more than a gigabyte, as of the whole.
  std::vector<KernelPart> parts;

  [[nodiscard]] Gpa begin() const { return parts.front().at; }
  [[nodiscard]] Gpa end() const { return parts.back().at + parts.back().bytes; }
};

// Views into `elf`. kInvalidInput, with what is wrong, if it is no such kernel.
Result<Vmlinux> read_vmlinux(Bytes elf);

}  // namespace panicroom::kexec
