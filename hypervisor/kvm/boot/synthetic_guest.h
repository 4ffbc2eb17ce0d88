// Kernel files for the tests of loading them: what kernels/image/synthetic_kernel.h builds, with what a boot loader
// looks at filled in. Not linked into the product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/image/synthetic_kernel.h"

namespace panicroom::kvm::testing {

template <typename T>
void store(std::vector<std::byte>& file, std::size_t at, T value) {
  std::memcpy(file.data() + at, &value, sizeof(value));
}

// Offsets of setup header fields: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
inline constexpr std::size_t kHeaderVersion = 0x206;
inline constexpr std::size_t kInitrdAddrMax = 0x22c;
inline constexpr std::size_t kKernelAlignment = 0x230;
inline constexpr std::size_t kRelocatableKernel = 0x234;
inline constexpr std::size_t kXloadflags = 0x236;
inline constexpr std::size_t kCmdlineSize = 0x238;
inline constexpr std::size_t kPrefAddress = 0x258;
inline constexpr std::size_t kInitSize = 0x260;
// Where build_bzimage() puts the protected-mode code.
inline constexpr std::size_t kSyntheticCode = 0x800;

// Takes 8 MiB from 16 MiB up, or from 2 MiB up. `payload` is a packed ELF.
inline std::vector<std::byte> bootable_bzimage(Bytes payload) {
  auto file = kernels::testing::build_bzimage(payload, "6.1.0-test-amd64 (tester@example.org) #1 SMP");
  file.resize(file.size() + 4096, std::byte{0x90});
  store(file, kInitrdAddrMax, std::uint32_t{0x7fffffff});
  store(file, kKernelAlignment, std::uint32_t{0x200000});
  store(file, kRelocatableKernel, std::uint8_t{1});
  store(file, kCmdlineSize, std::uint32_t{2047});
  store(file, kPrefAddress, std::uint64_t{0x1000000});
  store(file, kInitSize, std::uint32_t{0x800000});
  return file;
}

}  // namespace panicroom::kvm::testing
