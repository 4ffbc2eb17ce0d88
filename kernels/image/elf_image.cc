#include "kernels/image/elf_image.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace panicroom::kernels {
namespace {

std::string machine_name(std::uint16_t machine) {
  switch (machine) {
    case EM_AARCH64:
      return "aarch64";
    case EM_386:
      return "i386";
    case EM_ARM:
      return "arm";
    case EM_RISCV:
      return "riscv";
    case EM_PPC64:
      return "ppc64";
    case EM_S390:
      return "s390";
    case EM_MIPS:
      return "mips";
    case EM_LOONGARCH:
      return "loongarch";
    default:
      return fmt::format("number {}", machine);
  }
}

// The `index`th record of a table whose bounds were checked.
template <typename T>
T record(Bytes table, std::size_t index) {
  return *load<T>(table, index * sizeof(T));
}

// The table of `count` records at `offset`; the message names it.
Result<Bytes> table_at(Bytes file, std::uint64_t offset, std::uint64_t count, std::uint64_t record_size,
                       std::string_view name) {
  const auto table = slice(file, offset, count * record_size);
  if (!table) {
    return invalid_input("ELF: truncated: the {} ({} records at {:#x}) ends behind the file's {:#x} bytes", name, count,
                         offset, file.size());
  }
  return *table;
}

Result<Elf64_Ehdr> read_header(Bytes file) {
  if (file.size() < EI_NIDENT || std::memcmp(file.data(), ELFMAG, SELFMAG) != 0)
    return invalid_input("not an ELF file");
  const auto ident = [&](int index) { return std::to_integer<unsigned>(file[static_cast<std::size_t>(index)]); };
  if (ident(EI_DATA) != ELFDATA2LSB) return unsupported("unsupported architecture: a big-endian ELF file");
  // e_machine lies at the same place in 32-bit files.
  const auto machine = load<std::uint16_t>(file, offsetof(Elf64_Ehdr, e_machine));
  if (machine && *machine != EM_X86_64) {
    return unsupported("unsupported architecture: ELF machine {}", machine_name(*machine));
  }
  if (ident(EI_CLASS) != ELFCLASS64) return unsupported("unsupported architecture: a 32-bit ELF file");
  const auto header = load<Elf64_Ehdr>(file, 0);
  if (!header) return invalid_input("ELF: truncated: the file ends in the ELF header");
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN) {
    return invalid_input("ELF: e_type is {}: {}, not a kernel", header->e_type,
                         header->e_type == ET_REL    ? "a relocatable object or kernel module"
                         : header->e_type == ET_CORE ? "a core dump"
                                                     : "an unknown kind of file");
  }
  return *header;
}

}  // namespace

bool Section::executable() const { return (flags & SHF_ALLOC) != 0 && (flags & SHF_EXECINSTR) != 0; }

bool Section::text() const { return executable() && (flags & SHF_WRITE) == 0; }

Result<ElfImage> ElfImage::parse(std::vector<std::byte> file) {
  ElfImage image;
  image.file_ = std::move(file);
  TRY(image.read_segments());
  TRY(image.read_sections());
  image.find_text();
  return image;
}

Result<> ElfImage::read_segments() {
  const Elf64_Ehdr header = TRY(read_header(file_));
  entry_ = header.e_entry;
  if (header.e_phnum != 0 && header.e_phentsize != sizeof(Elf64_Phdr)) {
    return invalid_input("ELF: e_phentsize is {}, not {}", header.e_phentsize, sizeof(Elf64_Phdr));
  }
  // e_phnum is 16 bits, so the number of segments is bounded; PN_XNUM is for core dumps.
  const Bytes table =
      TRY(table_at(file_, header.e_phoff, header.e_phnum, sizeof(Elf64_Phdr), "program header table (e_phoff)"));
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    const auto program_header = record<Elf64_Phdr>(table, i);
    if (program_header.p_type != PT_LOAD) continue;
    const auto content = slice(file_, program_header.p_offset, program_header.p_filesz);
    if (!content) {
      return invalid_input("ELF: truncated: segment {} ({:#x} bytes at {:#x}) ends behind the file's {:#x} bytes", i,
                           program_header.p_filesz, program_header.p_offset, file_.size());
    }
    if (program_header.p_filesz > program_header.p_memsz ||
        program_header.p_vaddr + program_header.p_memsz < program_header.p_vaddr) {
      return invalid_input("ELF: segment {} has impossible sizes (p_filesz {:#x}, p_memsz {:#x} at p_vaddr {:#x})", i,
                           program_header.p_filesz, program_header.p_memsz, program_header.p_vaddr);
    }
    const LinkAddress begin{program_header.p_vaddr};
    segments_.push_back(
        {{begin, begin + program_header.p_memsz}, program_header.p_paddr, program_header.p_flags, *content});
  }
  if (segments_.empty()) return invalid_input("ELF: no PT_LOAD segment: nothing in it can be loaded");
  return {};
}

Result<> ElfImage::read_sections() {
  const Elf64_Ehdr header = TRY(read_header(file_));
  if (header.e_shoff == 0 || header.e_shnum == 0) return {};
  if (header.e_shentsize != sizeof(Elf64_Shdr)) {
    return invalid_input("ELF: e_shentsize is {}, not {}", header.e_shentsize, sizeof(Elf64_Shdr));
  }
  const Bytes table =
      TRY(table_at(file_, header.e_shoff, header.e_shnum, sizeof(Elf64_Shdr), "section header table (e_shoff)"));
  Bytes names;
  if (header.e_shstrndx < header.e_shnum) {
    const auto names_header = record<Elf64_Shdr>(table, header.e_shstrndx);
    const auto found = slice(file_, names_header.sh_offset, names_header.sh_size);
    if (!found) return invalid_input("ELF: truncated: the section names (e_shstrndx) end behind the file");
    names = *found;
  }
  for (std::size_t i = 1; i < header.e_shnum; ++i) {
    const auto section_header = record<Elf64_Shdr>(table, i);
    Section section;
    if (section_header.sh_name < names.size()) {
      // A name is at most as long as a reasonable one: hostile files could let every section name the whole table.
      constexpr std::size_t kMaxName = 128;
      const std::string_view rest = as_text(names.subspan(section_header.sh_name)).substr(0, kMaxName);
      section.name = rest.substr(0, rest.find('\0'));
    }
    section.type = section_header.sh_type;
    section.flags = section_header.sh_flags;
    if (section_header.sh_type != SHT_NOBITS && section_header.sh_type != SHT_NULL) {
      const auto content = slice(file_, section_header.sh_offset, section_header.sh_size);
      if (!content) {
        return invalid_input(
            "ELF: truncated: section {} '{}' ({:#x} bytes at {:#x}) ends behind the file's {:#x} bytes", i,
            section.name, section_header.sh_size, section_header.sh_offset, file_.size());
      }
      section.content = *content;
    }
    if (section.flags & SHF_ALLOC) {
      if (section_header.sh_addr + section_header.sh_size < section_header.sh_addr) {
        return invalid_input("ELF: section {} '{}' wraps around the end of memory", i, section.name);
      }
      section.range = {{section_header.sh_addr}, LinkAddress{section_header.sh_addr} + section_header.sh_size};
    }
    sections_.push_back(std::move(section));
  }
  return {};
}

void ElfImage::find_text() {
  if (sections_.empty()) {
    for (const Segment& segment : segments_) {
      if (segment.flags & PF_X) text_ranges_.push_back(segment.range);
    }
  }
  for (const Section& section : sections_) {
    if (section.text() && section.range.size() != 0) text_ranges_.push_back(section.range);
  }
  std::sort(text_ranges_.begin(), text_ranges_.end(),
            [](const LinkRange& a, const LinkRange& b) { return a.begin < b.begin; });
  // In a kernel they are apart. Where a hostile file lets them overlap, the first one keeps what it has.
  std::vector<LinkRange> apart;
  for (LinkRange range : text_ranges_) {
    if (!apart.empty()) range.begin = std::max(range.begin, apart.back().end);
    if (range.begin < range.end) apart.push_back(range);
  }
  text_ranges_ = std::move(apart);
}

const Section* ElfImage::section(std::string_view name) const {
  const auto found =
      std::find_if(sections_.begin(), sections_.end(), [&](const Section& section) { return section.name == name; });
  return found != sections_.end() ? &*found : nullptr;
}

Bytes ElfImage::bytes_from(LinkAddress address) const {
  for (const Segment& segment : segments_) {
    if (segment.range.begin <= address && address - segment.range.begin < segment.content.size()) {
      return segment.content.subspan(address - segment.range.begin);
    }
  }
  return {};
}

std::optional<Bytes> ElfImage::bytes_at(LinkAddress address, std::uint64_t size) const {
  return slice(bytes_from(address), 0, size);
}

const LinkRange* ElfImage::text_range_at(LinkAddress address) const {
  const auto after = std::upper_bound(text_ranges_.begin(), text_ranges_.end(), address,
                                      [](LinkAddress a, const LinkRange& range) { return a < range.begin; });
  if (after == text_ranges_.begin() || !std::prev(after)->contains(address)) return nullptr;
  return &*std::prev(after);
}

std::optional<Bytes> ElfImage::btf() const {
  const Section* found = section(".BTF");
  if (found == nullptr || found->content.empty()) return std::nullopt;
  return found->content;
}

}  // namespace panicroom::kernels
