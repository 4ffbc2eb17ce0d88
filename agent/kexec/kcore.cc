#include "agent/kexec/kcore.h"

#include <elf.h>

#include <cstring>
#include <optional>

namespace panicroom::kexec {
namespace {

// Where x86-64 maps the kernel's image (__START_KERNEL_map), and the end of that (MODULES_VADDR).
constexpr std::uint64_t kImageMapping = 0xffffffff80000000;
constexpr std::uint64_t kModules = 0xffffffffc0000000;
// p_paddr of what is not mapped to one place in physical memory: fs/proc/kcore.c.
constexpr std::uint64_t kNoPhysicalAddress = ~std::uint64_t{0};

}  // namespace

Result<std::size_t> kcore_headers_size(Bytes elf_header) {
  static_assert(sizeof(Elf64_Ehdr) == kElfHeaderBytes);
  const auto header = load<Elf64_Ehdr>(elf_header, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
      header->e_type != ET_CORE || header->e_machine != EM_X86_64 || header->e_phentsize != sizeof(Elf64_Phdr)) {
    return invalid_input("/proc/kcore is no ELF-64 core of an x86-64 kernel");
  }
  constexpr std::uint64_t kMaxOffset = 65536;
  if (header->e_phnum > kMaxKcoreHeaders || header->e_phoff > kMaxOffset) {
    return invalid_input("/proc/kcore has {} program headers at {:#x}: at most {} are read", header->e_phnum,
                         header->e_phoff, kMaxKcoreHeaders);
  }
  return static_cast<std::size_t>(header->e_phoff) + header->e_phnum * sizeof(Elf64_Phdr);
}

Result<KernelPlace> read_kcore(Bytes headers) {
  const auto size = TRY(kcore_headers_size(headers));
  if (size > headers.size()) return invalid_input("/proc/kcore ends within its program headers");
  const auto header = load<Elf64_Ehdr>(headers, 0);
  KernelPlace place;
  bool image = false;
  bool memory = false;
  for (std::uint64_t i = 0; i < header->e_phnum; ++i) {
    const auto segment = load<Elf64_Phdr>(headers, header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment || segment->p_type != PT_LOAD || segment->p_paddr == kNoPhysicalAddress) continue;
    const bool in_image = segment->p_vaddr >= kImageMapping && segment->p_vaddr < kModules;
    if (in_image && !image && segment->p_memsz > 0 && segment->p_memsz <= kModules - segment->p_vaddr) {
      place.text = {segment->p_vaddr};
      place.text_physical = {segment->p_paddr};
      place.text_bytes = segment->p_memsz;
      image = true;
    }
    if (!memory && segment->p_vaddr < kImageMapping && segment->p_vaddr >> 63 != 0 &&
        segment->p_paddr <= segment->p_vaddr) {
      place.direct_map = {segment->p_vaddr - segment->p_paddr};
      memory = true;
    }
  }
  if (!image) return invalid_input("/proc/kcore does not tell where the kernel's image is");
  if (!memory) return invalid_input("/proc/kcore does not tell where physical memory is mapped");
  return place;
}

}  // namespace panicroom::kexec
