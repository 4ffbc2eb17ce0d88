#include "agent/vmcore/synthetic_vmcore.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

namespace panicroom::vmcore {
namespace {

// Layout of the fake kernel's data, as offsets into its one PT_LOAD. The structures are like 6.1's.
constexpr std::size_t kPrbPointer = 0x10;
constexpr std::size_t kLogPointer = 0x18;
constexpr std::size_t kLogLength = 0x20;
constexpr std::size_t kRing = 0x100;
constexpr std::size_t kDescs = 0x400;
constexpr std::size_t kInfos = 0x800;
constexpr std::size_t kText = 0x1000;
constexpr std::size_t kLoadBytes = 0x2000;
constexpr std::size_t kDescBytes = 24;
constexpr std::size_t kInfoBytes = 88;
constexpr std::size_t kLoadFileOffset = 0x4000;

template <typename T>
void put(std::vector<std::byte>& bytes, std::size_t at, T value) {
  if (bytes.size() < at + sizeof(T)) bytes.resize(at + sizeof(T));
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

void add_note(std::vector<std::byte>& notes, std::string_view name, std::uint32_t type, Bytes content) {
  const auto align = [&notes] { notes.resize((notes.size() + 3) & ~std::size_t{3}); };
  const std::size_t at = notes.size();
  put(notes, at, Elf64_Nhdr{static_cast<Elf64_Word>(name.size() + 1), static_cast<Elf64_Word>(content.size()), type});
  for (const char c : name) notes.push_back(static_cast<std::byte>(c));
  notes.push_back(std::byte{0});
  align();
  notes.insert(notes.end(), content.begin(), content.end());
  align();
}

std::vector<std::byte> fake_kernel(const SyntheticVmcore& options) {
  std::vector<std::byte> memory(kLoadBytes);
  const std::uint64_t base = SyntheticVmcore::kKernelVirtual;
  const std::uint64_t count = 1ULL << SyntheticVmcore::kCountBits;
  const std::uint64_t ring = 1ULL << SyntheticVmcore::kSizeBits;
  put(memory, kPrbPointer, base + kRing);
  put(memory, kLogPointer, base + kText);
  put(memory, kLogLength, std::uint32_t{kLoadBytes - kText});
  put(memory, kRing + 0, SyntheticVmcore::kCountBits);
  put(memory, kRing + 8, base + kDescs);
  put(memory, kRing + 16, base + kInfos);
  const std::uint64_t last_id = options.first_id + options.records.size() - 1;
  put(memory, kRing + 24, last_id);
  put(memory, kRing + 32, std::max(options.first_id, last_id + 1 - std::min(last_id + 1, count)));
  put(memory, kRing + 48, SyntheticVmcore::kSizeBits);
  put(memory, kRing + 56, base + kText);

  std::uint64_t position = ring * 7 - 32;  // Shortly before the ring's end, so that a block has to wrap.
  std::uint64_t id = options.first_id;
  for (const SyntheticRecord& record : options.records) {
    const std::uint64_t block = 8 + ((record.text.size() + 7) & ~std::uint64_t{7});
    std::uint64_t begin = position;
    std::uint64_t data = begin % ring;
    std::uint64_t next = begin + block;
    if (begin / ring != (next - 1) / ring) {
      data = 0;
      next = (begin / ring + 1) * ring + block;
    }
    position = next;
    put(memory, kText + data, id);
    if (!record.text.empty()) std::memcpy(memory.data() + kText + data + 8, record.text.data(), record.text.size());
    if (record.text.empty()) begin = next = 3;
    const std::size_t desc = kDescs + id % count * kDescBytes;
    put(memory, desc, record.state << 62 | id);
    put(memory, desc + 8, begin);
    put(memory, desc + 16, next);
    const std::size_t info = kInfos + id % count * kInfoBytes;
    put(memory, info + 8, record.nanoseconds);
    put(memory, info + 16, static_cast<std::uint16_t>(record.text.size()));
    ++id;
  }
  return memory;
}

std::string vmcoreinfo(const SyntheticVmcore& options) {
  std::map<std::string, std::string> lines = {
      {"OSRELEASE", "6.1.0-test"},
      {"PAGESIZE", "4096"},
      {"SYMBOL(prb)", fmt::format("{:x}", SyntheticVmcore::kKernelVirtual + kPrbPointer)},
      {"NUMBER(phys_base)",
       fmt::format("{}", static_cast<std::int64_t>(SyntheticVmcore::kKernelPhysical -
                                                   (SyntheticVmcore::kKernelVirtual - 0xffffffff80000000)))},
      {"KERNELOFFSET", "1d000000"},
      {"SIZE(printk_ringbuffer)", "80"},
      {"OFFSET(printk_ringbuffer.desc_ring)", "0"},
      {"OFFSET(printk_ringbuffer.text_data_ring)", "48"},
      {"OFFSET(prb_desc_ring.count_bits)", "0"},
      {"OFFSET(prb_desc_ring.descs)", "8"},
      {"OFFSET(prb_desc_ring.infos)", "16"},
      {"OFFSET(prb_desc_ring.head_id)", "24"},
      {"OFFSET(prb_desc_ring.tail_id)", "32"},
      {"SIZE(prb_desc)", std::to_string(kDescBytes)},
      {"OFFSET(prb_desc.state_var)", "0"},
      {"OFFSET(prb_desc.text_blk_lpos)", "8"},
      {"OFFSET(prb_data_blk_lpos.begin)", "0"},
      {"OFFSET(prb_data_blk_lpos.next)", "8"},
      {"SIZE(printk_info)", std::to_string(kInfoBytes)},
      {"OFFSET(printk_info.ts_nsec)", "8"},
      {"OFFSET(printk_info.text_len)", "16"},
      {"OFFSET(prb_data_ring.size_bits)", "0"},
      {"OFFSET(prb_data_ring.data)", "8"},
  };
  for (const auto& [key, value] : options.info_overrides) {
    lines.erase(key);
    if (!value.empty()) lines[key] = value;
  }
  std::string text;
  for (const auto& [key, value] : lines) text += fmt::format("{}={}\n", key, value);
  return text;
}

}  // namespace

Result<> BufferReader::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  const auto part = slice(bytes_, offset, out.size());
  if (!part) return invalid_input("the file ends before {:#x}", offset + out.size());
  std::ranges::copy(*part, out.begin());
  return {};
}

SamplePlan SyntheticVmcore::sample_plan() {
  constexpr LinkAddress kLinked{kKernelVirtual - 0x1d000000};  // KERNELOFFSET, above.
  return {.kernel_pages = {kLinked, kLinked + kText},
          .physical_pages = {{kKernelPhysical}, {kKernelPhysical - kPageBytes}},
          .log_buffer = SamplePlan::Buffer{kLinked + kLogPointer, kLinked + kLogLength},
          .page_tables = std::nullopt};
}

std::vector<std::byte> SyntheticVmcore::build() const {
  std::vector<std::byte> notes;
  for (std::size_t cpu = 0; cpu < prstatus_pids.size(); ++cpu) {
    std::vector<std::byte> status(336);
    put(status, 32, prstatus_pids[cpu]);
    const bool zero = zero_registers && cpu + 1 == prstatus_pids.size();
    for (std::size_t i = 0; i < 27 && !zero; ++i) put(status, 112 + 8 * i, 1000 * (cpu + 1) + i);
    add_note(notes, "CORE", NT_PRSTATUS, status);
  }
  add_note(notes, "VMCOREINFO", 0, as_bytes(vmcoreinfo(*this)));

  std::vector<std::byte> file;
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_version = EV_CURRENT;
  header.e_type = ET_CORE;
  header.e_machine = EM_X86_64;
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  put(file, 0, header);
  Elf64_Phdr note{};
  note.p_type = PT_NOTE;
  note.p_offset = 0x200;
  note.p_filesz = note.p_memsz = notes.size();
  put(file, sizeof(Elf64_Ehdr), note);
  Elf64_Phdr memory{};
  memory.p_type = PT_LOAD;
  memory.p_offset = kLoadFileOffset;
  memory.p_vaddr = kernel_is_mapped ? kKernelVirtual : 0xffff888000000000 + kKernelPhysical;
  memory.p_paddr = kKernelPhysical;
  memory.p_filesz = memory.p_memsz = kLoadBytes;
  put(file, sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr), memory);
  file.resize(kLoadFileOffset);
  std::ranges::copy(notes, file.begin() + 0x200);
  const std::vector<std::byte> kernel = fake_kernel(*this);
  file.insert(file.end(), kernel.begin(), kernel.end());
  return file;
}

}  // namespace panicroom::vmcore
