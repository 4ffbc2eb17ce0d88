#include "kernels/purgatory/purgatory.h"

#include <elf.h>

#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace panicroom::kernels {
namespace {

// Far more than any has: Debian's have some 20.
constexpr std::size_t kMostSections = 256;
constexpr std::size_t kMostSymbols = 4096;
// A purgatory takes a few pages.
constexpr std::uint64_t kMostBytes = 1U << 20;

struct Placed {
  Elf64_Shdr header;
  std::optional<std::uint64_t> at;  // Offset in memory, of a section that is loaded from the file.
};

Result<std::vector<Placed>> read_sections(Bytes elf, const Elf64_Ehdr& header) {
  if (header.e_shnum == 0 || header.e_shnum > kMostSections) {
    return invalid_input("the purgatory has {} sections", header.e_shnum);
  }
  std::vector<Placed> sections;
  for (std::uint64_t i = 0; i < header.e_shnum; ++i) {
    const auto section = load<Elf64_Shdr>(elf, header.e_shoff + i * sizeof(Elf64_Shdr));
    if (!section) return invalid_input("the purgatory's section {} is not in the file", i);
    sections.push_back({*section, std::nullopt});
  }
  return sections;
}

// Gives every loaded section its place, one behind the other in the file's order. Returns the size of all.
Result<std::uint64_t> place(std::vector<Placed>& sections) {
  std::uint64_t offset = 0;
  for (auto& section : sections) {
    if ((section.header.sh_flags & SHF_ALLOC) == 0 || section.header.sh_type == SHT_NOBITS) continue;
    const auto alignment = std::max<std::uint64_t>(section.header.sh_addralign, 1);
    if ((alignment & (alignment - 1)) != 0 || alignment > kMostBytes || section.header.sh_size > kMostBytes) {
      return invalid_input("the purgatory's sections have no sound sizes");
    }
    offset = (offset + alignment - 1) & ~(alignment - 1);
    section.at = offset;
    offset += section.header.sh_size;
    if (offset > kMostBytes) return invalid_input("the purgatory is larger than {} bytes", kMostBytes);
  }
  return offset;
}

Result<std::uint64_t> place_of_entry(const std::vector<Placed>& sections, std::uint64_t entry) {
  for (const auto& section : sections) {
    const auto& header = section.header;
    if (!section.at || (header.sh_flags & SHF_EXECINSTR) == 0) continue;
    if (entry >= header.sh_addr && entry - header.sh_addr < header.sh_size) {
      return *section.at + (entry - header.sh_addr);
    }
  }
  return invalid_input("the purgatory's entry {:#x} lies in no code of its own", entry);
}

std::optional<std::string_view> text_at(Bytes strings, std::uint64_t offset) {
  if (offset >= strings.size()) return std::nullopt;
  const auto rest = as_text(strings.subspan(static_cast<std::size_t>(offset)));
  const auto end = rest.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  return rest.substr(0, end);
}

// Where the object of that name and size lies; nothing if there is no such symbol.
std::optional<std::uint64_t> place_of(Bytes elf, const std::vector<Placed>& sections, std::string_view name,
                                      std::uint64_t size) {
  for (const auto& table : sections) {
    if (table.header.sh_type != SHT_SYMTAB || table.header.sh_link >= sections.size()) continue;
    const auto symbols = slice(elf, table.header.sh_offset, table.header.sh_size);
    const auto& strings_header = sections[table.header.sh_link].header;
    const auto strings = slice(elf, strings_header.sh_offset, strings_header.sh_size);
    if (!symbols || !strings) continue;
    const auto count = std::min(symbols->size() / sizeof(Elf64_Sym), kMostSymbols);
    for (std::size_t i = 0; i < count; ++i) {
      const auto symbol = load<Elf64_Sym>(*symbols, i * sizeof(Elf64_Sym));
      if (!symbol || text_at(*strings, symbol->st_name) != name) continue;
      if (symbol->st_shndx >= sections.size() || symbol->st_size < size) continue;
      const auto& home = sections[symbol->st_shndx];
      if (!home.at || symbol->st_value > home.header.sh_size || home.header.sh_size - symbol->st_value < size) continue;
      return *home.at + symbol->st_value;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<Purgatory> read_purgatory(Bytes elf) {
  const auto header = load<Elf64_Ehdr>(elf, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
    return invalid_input("the purgatory is no ELF file");
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64 || header->e_type != ET_REL ||
      header->e_shentsize != sizeof(Elf64_Shdr)) {
    return invalid_input("the purgatory is no relocatable x86-64 ELF file");
  }
  auto sections = TRY(read_sections(elf, *header));
  Purgatory purgatory;
  purgatory.size = TRY(place(sections));
  purgatory.entry = TRY(place_of_entry(sections, header->e_entry));
  const auto regions = place_of(elf, sections, "purgatory_sha_regions", kPurgatoryRegions * kPurgatoryRegionBytes);
  const auto digest = place_of(elf, sections, "purgatory_sha256_digest", kPurgatoryDigestBytes);
  if (!regions || !digest) return unsupported("the kernel's purgatory does not check what it starts");
  purgatory.regions = *regions;
  purgatory.digest = *digest;
  return purgatory;
}

Result<Purgatory> find_purgatory(const KernelImage& kernel) {
  const auto begin = TRY(kernel.symbols().unique("kexec_purgatory"));
  const auto size_symbol = TRY(kernel.symbols().unique("kexec_purgatory_size"));
  const auto size = load<std::uint64_t>(kernel.elf().bytes_from(size_symbol.address), 0);
  const auto elf = size ? kernel.elf().bytes_at(begin.address, *size) : std::nullopt;
  if (!elf) return unsupported("the kernel's purgatory is not in its image");
  return read_purgatory(*elf);
}

}  // namespace panicroom::kernels
