// An ELF vmlinux with the PT_LOADs of a kernel, for tests.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace panicroom::kexec {

struct SyntheticPart {
  std::uint64_t at = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t bytes = 0;
};

// The content of part n is bytes of value n + 1.
inline std::vector<std::byte> synthetic_vmlinux(const std::vector<SyntheticPart>& parts, std::uint64_t entry) {
  Elf64_Ehdr elf{};
  std::memcpy(elf.e_ident, ELFMAG, SELFMAG);
  elf.e_ident[EI_CLASS] = ELFCLASS64;
  elf.e_ident[EI_DATA] = ELFDATA2LSB;
  elf.e_type = ET_EXEC;
  elf.e_machine = EM_X86_64;
  elf.e_entry = entry;
  elf.e_phoff = sizeof(elf);
  elf.e_phentsize = sizeof(Elf64_Phdr);
  elf.e_phnum = static_cast<Elf64_Half>(parts.size());
  std::vector<std::byte> file(sizeof(elf) + parts.size() * sizeof(Elf64_Phdr));
  std::memcpy(file.data(), &elf, sizeof(elf));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Elf64_Phdr header{};
    header.p_type = PT_LOAD;
    header.p_paddr = parts[i].at;
    header.p_vaddr = 0xffffffff80000000 + parts[i].at;
    header.p_offset = file.size();
    header.p_filesz = parts[i].file_bytes;
    header.p_memsz = parts[i].bytes;
    std::memcpy(file.data() + sizeof(elf) + i * sizeof(header), &header, sizeof(header));
    file.insert(file.end(), static_cast<std::size_t>(parts[i].file_bytes), static_cast<std::byte>(i + 1));
  }
  return file;
}

}  // namespace panicroom::kexec
