#include "kernels/purgatory/synthetic_purgatory.h"

#include <elf.h>

#include <array>
#include <cstring>

namespace panicroom::kernels {
namespace {

constexpr std::uint64_t kTableBytes = std::uint64_t{16} * 16;
constexpr std::uint64_t kDigestBytes = 32;

template <typename T>
void append(std::vector<std::byte>& file, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  file.insert(file.end(), bytes.begin(), bytes.end());
}

}  // namespace

std::vector<std::byte> build_purgatory(const SyntheticPurgatory& what) {
  const std::string names = std::string("\0purgatory_sha_regions\0", 23) + what.digest_name + '\0';

  std::vector<std::byte> file(sizeof(Elf64_Ehdr));
  const auto text_at = file.size();
  file.resize(file.size() + what.text_size, std::byte{0x90});
  const auto data_at = file.size();
  file.resize(file.size() + kTableBytes + kDigestBytes);
  const auto symbols_at = file.size();
  append(file, Elf64_Sym{});
  append(file,
         Elf64_Sym{.st_name = 1, .st_info = 0, .st_other = 0, .st_shndx = 2, .st_value = 0, .st_size = kTableBytes});
  append(
      file,
      Elf64_Sym{
          .st_name = 23, .st_info = 0, .st_other = 0, .st_shndx = 2, .st_value = kTableBytes, .st_size = kDigestBytes});
  const auto names_at = file.size();
  for (const char c : names) file.push_back(static_cast<std::byte>(c));

  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_REL;
  header.e_machine = what.machine;
  header.e_entry = what.entry;
  header.e_shoff = file.size();
  header.e_shentsize = sizeof(Elf64_Shdr);
  std::array<Elf64_Shdr, 6> sections = {};
  sections[1].sh_type = SHT_PROGBITS;
  sections[1].sh_flags = SHF_ALLOC | SHF_EXECINSTR;
  sections[1].sh_offset = text_at;
  sections[1].sh_size = what.text_size;
  sections[1].sh_addralign = 16;
  sections[2].sh_type = SHT_PROGBITS;
  sections[2].sh_flags = SHF_ALLOC | SHF_WRITE;
  sections[2].sh_offset = data_at;
  sections[2].sh_size = kTableBytes + kDigestBytes;
  sections[2].sh_addralign = what.data_alignment;
  sections[3].sh_type = SHT_NOBITS;
  sections[3].sh_flags = SHF_ALLOC | SHF_WRITE;
  sections[3].sh_size = 4096;
  sections[3].sh_addralign = 4096;
  sections[4].sh_type = SHT_SYMTAB;
  sections[4].sh_offset = symbols_at;
  sections[4].sh_size = 3 * sizeof(Elf64_Sym);
  sections[4].sh_link = 5;
  sections[5].sh_type = SHT_STRTAB;
  sections[5].sh_offset = names_at;
  sections[5].sh_size = names.size();
  header.e_shnum = sections.size();
  for (const auto& section : sections) append(file, section);
  std::memcpy(file.data(), &header, sizeof(header));
  return file;
}

}  // namespace panicroom::kernels
