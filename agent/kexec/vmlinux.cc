#include "agent/kexec/vmlinux.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

namespace panicroom::kexec {
namespace {

// KERNEL_IMAGE_SIZE is 1 GiB, and physical addresses as linked begin at a few megabytes.
constexpr std::uint64_t kMaxAddress = std::uint64_t{4} << 30;
constexpr std::uint64_t kMaxImage = std::uint64_t{1} << 30;

}  // namespace

Result<Vmlinux> read_vmlinux(Bytes elf) {
  const auto header = load<Elf64_Ehdr>(elf, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
      header->e_machine != EM_X86_64 || (header->e_type != ET_EXEC && header->e_type != ET_DYN) ||
      header->e_phentsize != sizeof(Elf64_Phdr)) {
    return invalid_input("it is no ELF vmlinux for x86-64");
  }
  Vmlinux kernel{.entry = {header->e_entry}, .parts = {}};
  for (std::uint64_t i = 0; i < header->e_phnum; ++i) {
    const auto segment = load<Elf64_Phdr>(elf, header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment) return invalid_input("the file ends within its program headers");
    if (segment->p_type != PT_LOAD || segment->p_memsz == 0) continue;
    if (kernel.parts.size() == kMaxKernelParts) return invalid_input("it has more than {} PT_LOADs", kMaxKernelParts);
    const auto content = slice(elf, segment->p_offset, segment->p_filesz);
    if (!content || segment->p_filesz > segment->p_memsz) return invalid_input("PT_LOAD {} is not all there", i);
    if (segment->p_paddr >= kMaxAddress || segment->p_memsz > kMaxImage || segment->p_paddr % kPageBytes != 0) {
      return invalid_input("PT_LOAD {} has {} bytes at physical address {:#x}", i, segment->p_memsz, segment->p_paddr);
    }
    const std::uint64_t pages = (segment->p_memsz + kPageBytes - 1) / kPageBytes;
    kernel.parts.push_back({{segment->p_paddr}, *content, pages * kPageBytes});
  }
  if (kernel.parts.empty()) return invalid_input("it has no PT_LOAD");
  std::sort(kernel.parts.begin(), kernel.parts.end(),
            [](const KernelPart& a, const KernelPart& b) { return a.at < b.at; });
  for (std::size_t i = 1; i < kernel.parts.size(); ++i) {
    const auto& before = kernel.parts[i - 1];
    if (before.at + before.bytes > kernel.parts[i].at) {
      return invalid_input("its PT_LOADs at {:#x} and {:#x} overlap", before.at.value, kernel.parts[i].at.value);
    }
  }
  if (kernel.end() - kernel.begin() > kMaxImage) return invalid_input("its PT_LOADs lie more than 1 GiB apart");
  const bool entry_is_loaded = std::any_of(kernel.parts.begin(), kernel.parts.end(), [&](const KernelPart& part) {
    return kernel.entry >= part.at && kernel.entry < part.at + part.content.size();
  });
  if (!entry_is_loaded) return invalid_input("its entry {:#x} lies in no PT_LOAD", kernel.entry.value);
  return kernel;
}

}  // namespace panicroom::kexec
