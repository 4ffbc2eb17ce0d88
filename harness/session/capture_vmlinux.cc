#include "harness/session/capture_vmlinux.h"

#include <elf.h>

#include <cstring>
#include <span>

namespace panicroom::harness {
namespace {

template <typename T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

std::vector<std::byte> capture_vmlinux(const kernels::ElfImage& kernel) {
  const auto segments = kernel.segments();
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_entry = kernel.entry_physical_address();
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<Elf64_Half>(segments.size());
  std::vector<std::byte> file;
  std::size_t size = sizeof(Elf64_Ehdr) + segments.size() * sizeof(Elf64_Phdr);
  std::uint64_t offset = size;
  for (const auto& segment : segments) size += segment.content.size();
  file.reserve(size);
  append(file, header);
  for (const auto& segment : segments) {
    Elf64_Phdr part{};
    part.p_type = PT_LOAD;
    part.p_flags = segment.flags;
    part.p_offset = offset;
    part.p_vaddr = segment.range.begin.value;
    part.p_paddr = segment.physical_address;
    part.p_filesz = segment.content.size();
    part.p_memsz = segment.range.size();
    append(file, part);
    offset += segment.content.size();
  }
  for (const auto& segment : segments) file.insert(file.end(), segment.content.begin(), segment.content.end());
  return file;
}

}  // namespace panicroom::harness
