// Loads a guest into fresh memory as a boot loader would, and says in which state the first vCPU enters it: a Linux
// bzImage or vmlinux by the 64-bit boot protocol (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"), or any
// other ELF64, entered in the same way.
//
// No state, no threads. Everything in the files may be hostile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "hypervisor/kvm/boot/boot_params.h"
#include "hypervisor/kvm/memory/guest_memory.h"

namespace panicroom::kvm {

struct BootRequest {
  std::filesystem::path kernel;     // A bzImage, or an ELF64 (which may be compressed).
  std::filesystem::path initramfs;  // Empty: none.
  std::string cmdline;
  std::uint32_t vcpus = 1;
  // Unpacks a bzImage here and enters the kernel inside it, as if it were a vmlinux: for hosts on which the kernel's
  // own decompressor would take long. The kernel then runs where it was linked: no KASLR.
  bool unpack_bzimage = false;
  RngSeed rng_seed{};  // For the kernel's random numbers (SETUP_RNG_SEED).
};

// How the first vCPU begins: 64-bit mode (CR0.PE and PG, CR4.PAE, EFER.LME and LMA), interrupts off, the segments flat:
// CS as code_selector, DS, ES and SS as data_selector, both in the GDT. Registers that are not named are 0.
struct EntryState {
  std::uint64_t rip = 0;
  std::uint64_t rsi = 0;  // boot_params.
  std::uint64_t rsp = 0;
  std::uint64_t cr3 = 0;  // The first 4 GiB, mapped to themselves.
  std::uint64_t gdt_base = 0;
  std::uint16_t gdt_limit = 0;
  std::uint16_t code_selector = 0x10;  // __BOOT_CS
  std::uint16_t data_selector = 0x18;  // __BOOT_DS
};

// kInvalidInput for a file that is missing, broken or does not fit into this memory, and a command line that is too
// long for the kernel; kUnsupported for a kernel that is whole but cannot be entered in 64-bit mode. The message names
// the file. After an error, memory holds some of it.
Result<EntryState> load_kernel(GuestMemory& memory, const BootRequest& request);

// The same with the files' content in memory; the request's paths are used for messages only.
Result<EntryState> load_kernel(GuestMemory& memory, const BootRequest& request, std::vector<std::byte> kernel,
                               Bytes initramfs);

}  // namespace panicroom::kvm
