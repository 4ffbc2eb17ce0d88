#include "agent/vmcore/elf_core.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace panicroom::vmcore {
namespace {

// The most that KASLR and the image can cover above kKernelTextMapping (KERNEL_IMAGE_SIZE, 1 GiB).
constexpr std::uint64_t kKernelTextMappingBytes = 1ULL << 30;

constexpr std::uint64_t align4(std::uint64_t value) { return (value + 3) & ~std::uint64_t{3}; }

template <typename T>
Result<T> read_struct(const Reader& reader, std::uint64_t offset) {
  std::array<std::byte, sizeof(T)> bytes;
  TRY(reader.read_at(offset, bytes));
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

Result<> check_header(const Elf64_Ehdr& header) {
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return invalid_input("the ELF magic is missing");
  if (header.e_ident[EI_CLASS] != ELFCLASS64)
    return invalid_input("EI_CLASS is {}, not ELF-64", header.e_ident[EI_CLASS]);
  if (header.e_ident[EI_DATA] != ELFDATA2LSB)
    return invalid_input("EI_DATA is {}, not little-endian", header.e_ident[EI_DATA]);
  if (header.e_type != ET_CORE) return invalid_input("e_type is {}, not ET_CORE", header.e_type);
  if (header.e_machine != EM_X86_64) return invalid_input("e_machine is {}, not x86-64", header.e_machine);
  if (header.e_phentsize != sizeof(Elf64_Phdr)) {
    return invalid_input("e_phentsize is {}, not {}", header.e_phentsize, sizeof(Elf64_Phdr));
  }
  if (header.e_phnum == 0) return invalid_input("e_phnum is 0");
  if (header.e_phnum == PN_XNUM) return invalid_input("e_phnum is PN_XNUM, which no vmcore has");
  return {};
}

}  // namespace

Result<ElfCore> ElfCore::open(const Reader& reader) {
  const auto header = TRY_CONTEXT("ELF header", read_struct<Elf64_Ehdr>(reader, 0));
  TRY_CONTEXT("ELF header", check_header(header));

  ElfCore core(reader);
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    if (header.e_phoff > reader.size())
      return invalid_input("program headers: e_phoff lies behind the end of the file");
    const auto phdr = TRY_CONTEXT(fmt::format("program header {} of {}", i, header.e_phnum),
                                  read_struct<Elf64_Phdr>(reader, header.e_phoff + i * sizeof(Elf64_Phdr)));
    if (phdr.p_type == PT_NOTE) {
      core.note_segments_.push_back({phdr.p_offset, phdr.p_filesz});
    } else if (phdr.p_type == PT_LOAD) {
      core.loads_.push_back({phdr.p_offset, Gva{phdr.p_vaddr}, Gpa{phdr.p_paddr}, phdr.p_filesz});
    }
  }
  return core;
}

std::vector<Note> ElfCore::read_notes(std::string& damage) const {
  std::vector<Note> notes;
  std::uint64_t total = 0;
  const auto complain = [&damage](std::string text) {
    if (damage.empty()) damage = std::move(text);
  };
  for (const FileRange& segment : note_segments_) {
    if (segment.bytes > kMaxNoteBytes - total) {
      complain(fmt::format("PT_NOTE of {} bytes is larger than any kernel writes", segment.bytes));
      return notes;
    }
    if (segment.offset > reader_->size() || segment.bytes > reader_->size() - segment.offset) {
      complain(
          fmt::format("PT_NOTE ({} bytes at {:#x}) reaches behind the end of the file", segment.bytes, segment.offset));
      continue;
    }
    total += segment.bytes;
    std::vector<std::byte> buffer(static_cast<std::size_t>(segment.bytes));
    if (const auto read = reader_->read_at(segment.offset, buffer); !read) {
      complain(fmt::format("PT_NOTE: {}", read.error().message()));
      continue;
    }
    const Bytes bytes(buffer);
    std::uint64_t at = 0;
    while (const auto header = load<Elf64_Nhdr>(bytes, at)) {
      if (header->n_namesz == 0) break;  // As the kernel ends a list of notes.
      const std::uint64_t name_at = at + sizeof(Elf64_Nhdr);
      const std::uint64_t content_at = name_at + align4(header->n_namesz);
      const auto name = slice(bytes, name_at, header->n_namesz);
      const auto content = slice(bytes, content_at, header->n_descsz);
      if (!name || !content) {
        complain(fmt::format("note {} reaches behind the end of its PT_NOTE", notes.size()));
        break;
      }
      if (notes.size() == kMaxNotes) {
        complain(fmt::format("more than {} notes", kMaxNotes));
        return notes;
      }
      std::string_view text = as_text(*name);
      text = text.substr(0, text.find('\0'));
      notes.push_back({header->n_type, std::string(text), {content->begin(), content->end()}});
      at = content_at + align4(header->n_descsz);
    }
  }
  return notes;
}

Result<> ElfCore::read_virtual(Gva address, std::span<std::byte> out) const {
  for (const LoadSegment& load : loads_) {
    const std::uint64_t within = address - load.virtual_address;
    if (address < load.virtual_address || within >= load.file_bytes || out.size() > load.file_bytes - within) continue;
    if (load.file_offset > reader_->size()) continue;
    return reader_->read_at(load.file_offset + within, out);
  }
  if (address >= kKernelTextMapping && address - kKernelTextMapping < kKernelTextMappingBytes) {
    return read_physical(Gpa{(address - kKernelTextMapping) + static_cast<std::uint64_t>(phys_base_)}, out);
  }
  return invalid_input("no PT_LOAD holds the {} bytes at the virtual address {}", out.size(), address);
}

Result<> ElfCore::read_physical(Gpa address, std::span<std::byte> out) const {
  for (const LoadSegment& load : loads_) {
    const std::uint64_t within = address - load.physical_address;
    if (address < load.physical_address || within >= load.file_bytes || out.size() > load.file_bytes - within) continue;
    if (load.file_offset > reader_->size()) continue;
    return reader_->read_at(load.file_offset + within, out);
  }
  return invalid_input("no PT_LOAD holds the {} bytes at the physical address {}", out.size(), address);
}

}  // namespace panicroom::vmcore
