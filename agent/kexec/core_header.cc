#include "agent/kexec/core_header.h"

#include <elf.h>

#include <charconv>
#include <cstring>
#include <optional>

namespace panicroom::kexec {
namespace {

// The whole text, but for white space behind it.
std::optional<std::uint64_t> parse_number(std::string_view text, int base) {
  text = text.substr(0, text.find_last_not_of(" \n") + 1);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A note area that is none would make the dump one without registers, or without vmcoreinfo.
bool is_area(std::uint64_t at, std::uint64_t bytes) {
  constexpr std::uint64_t kMaxBytes = 1 << 20;
  constexpr std::uint64_t kMaxAddress = std::uint64_t{1} << 52;
  return at > 0 && at < kMaxAddress && bytes > 0 && bytes <= kMaxBytes;
}

template <typename T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

Elf64_Phdr note(const NoteArea& area) {
  Elf64_Phdr header{};
  header.p_type = PT_NOTE;
  header.p_offset = header.p_paddr = area.at.value;
  header.p_filesz = header.p_memsz = area.bytes;
  return header;
}

Elf64_Phdr memory(Gpa at, std::uint64_t bytes, Gva mapped_at) {
  Elf64_Phdr header{};
  header.p_type = PT_LOAD;
  header.p_flags = PF_R | PF_W | PF_X;
  header.p_offset = header.p_paddr = at.value;
  header.p_vaddr = mapped_at.value;
  header.p_filesz = header.p_memsz = bytes;
  return header;
}

}  // namespace

Result<NoteArea> parse_vmcoreinfo_area(std::string_view text) {
  const auto space = text.find(' ');
  if (text.starts_with("0x") && space != std::string_view::npos) {
    const auto at = parse_number(text.substr(2, space - 2), 16);
    const auto bytes = parse_number(text.substr(space + 1), 16);
    if (at && bytes && is_area(*at, *bytes)) return NoteArea{{*at}, *bytes};
  }
  return invalid_input("/sys/kernel/vmcoreinfo is not an address and a size");
}

Result<NoteArea> parse_crash_notes(std::string_view address, std::string_view size) {
  const auto at = parse_number(address, 16);
  const auto bytes = parse_number(size, 10);
  if (!at || !bytes || !is_area(*at, *bytes)) return invalid_input("crash_notes is not an address and a size");
  return NoteArea{{*at}, *bytes};
}

Result<std::vector<std::byte>> build_core_header(const CoreHeader& what) {
  const auto headers = what.cpus.size() + 2 + what.memory.size();
  if (headers > kMaxCoreHeaders) return invalid_input("a core of {} headers: at most {}", headers, kMaxCoreHeaders);
  Elf64_Ehdr elf{};
  std::memcpy(elf.e_ident, ELFMAG, SELFMAG);
  elf.e_ident[EI_CLASS] = ELFCLASS64;
  elf.e_ident[EI_DATA] = ELFDATA2LSB;
  elf.e_ident[EI_VERSION] = EV_CURRENT;
  elf.e_type = ET_CORE;
  elf.e_machine = EM_X86_64;
  elf.e_version = EV_CURRENT;
  elf.e_phoff = sizeof(Elf64_Ehdr);
  elf.e_ehsize = sizeof(Elf64_Ehdr);
  elf.e_phentsize = sizeof(Elf64_Phdr);
  elf.e_phnum = static_cast<Elf64_Half>(headers);
  std::vector<std::byte> bytes;
  bytes.reserve(sizeof(Elf64_Ehdr) + headers * sizeof(Elf64_Phdr));
  append(bytes, elf);
  for (const auto& area : what.cpus) append(bytes, note(area));
  append(bytes, note(what.vmcoreinfo));
  // The image by the addresses of its own mapping, which its RAM's header below does not have.
  append(bytes, memory(what.kernel.text_physical, what.kernel.text_bytes, what.kernel.text));
  for (const auto& range : what.memory) {
    append(bytes, memory(range.begin, range.size(), {what.kernel.direct_map.value + range.begin.value}));
  }
  return bytes;
}

}  // namespace panicroom::kexec
