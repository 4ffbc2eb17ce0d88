// The purgatory of a kernel: the code that runs between it and a kernel that kexec_file_load() has loaded, and that
// lets the second only start if its image still has the SHA-256 digest that it had when it was loaded
// (arch/x86/purgatory/purgatory.c). A kernel carries it as a relocatable ELF file (the symbol kexec_purgatory) and lays
// it out in memory itself (kernel/kexec_file.c, kexec_purgatory_setup_sechdrs()), which is retraced here.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "kernels/image/kernel_image.h"

namespace panicroom::kernels {

// Offsets in bytes from where the purgatory begins in memory.
struct Purgatory {
  std::uint64_t size = 0;     // What is loaded; .bss lies behind it.
  std::uint64_t entry = 0;    // Where the old kernel jumps to (struct kimage's start).
  std::uint64_t regions = 0;  // purgatory_sha_regions[]: pairs of a physical address and a length, 64 bits each.
  std::uint64_t digest = 0;   // purgatory_sha256_digest[]: 32 bytes.

  friend bool operator==(const Purgatory&, const Purgatory&) = default;
};

inline constexpr std::uint64_t kPurgatoryRegions = 16;  // KEXEC_SEGMENT_MAX, include/linux/kexec.h.
inline constexpr std::uint64_t kPurgatoryRegionBytes = 16;
inline constexpr std::uint64_t kPurgatoryDigestBytes = 32;

// kUnsupported if the kernel has none, or one without such a check.
Result<Purgatory> find_purgatory(const KernelImage& kernel);

// The same for the ELF file by itself, which may be hostile. kInvalidInput if it is broken.
Result<Purgatory> read_purgatory(Bytes elf);

}  // namespace panicroom::kernels
