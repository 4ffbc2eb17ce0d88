#include "hypervisor/kvm/boot/boot_params.h"

#include <algorithm>
#include <cstring>

namespace panicroom::kvm {
namespace {

// Entry types: ACPI 6.5, table 15.2.
constexpr std::uint32_t kUsable = 1;
constexpr std::uint32_t kReserved = 2;

constexpr std::uint8_t kUnknownLoader = 0xff;
constexpr std::uint16_t kNormalVideoMode = 0xffff;
constexpr std::uint32_t kSetupRngSeed = 9;  // SETUP_RNG_SEED, which headers before Linux 6.0 do not have.

// Segment descriptors (Intel SDM Vol. 3A, 3.4.5): flat, present, accessed, in 4 KiB units.
constexpr std::uint64_t kCode64 = 0x00af'9b00'0000'ffff;
constexpr std::uint64_t kData = 0x00cf'9300'0000'ffff;
constexpr std::array<std::uint64_t, 4> kDescriptors = {0, 0, kCode64, kData};
static_assert(sizeof(kDescriptors) == kGdtLimit + 1);

// Page table entries (Intel SDM Vol. 3A, 4.5.4): present, writable and accessed already, so that nothing has to write
// to them.
constexpr std::uint64_t kTable = 0x23;
constexpr std::uint64_t kPage2MiB = 0xe3;
constexpr std::uint64_t kEntries = 512;
constexpr std::uint64_t kDirectories = 4;  // For 1 GiB each.

template <typename T>
Bytes bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

boot_e820_entry entry(Gpa begin, std::uint64_t size, std::uint32_t type) {
  boot_e820_entry entry{};
  entry.addr = begin.value;
  entry.size = size;
  entry.type = type;
  return entry;
}

}  // namespace

std::vector<boot_e820_entry> memory_map(const GuestMemory& memory) {
  std::vector<boot_e820_entry> map = {
      entry(Gpa{0}, kLowMemoryEnd.value, kUsable),
      // Up to 1 MiB, the ACPI tables among it.
      entry(kLowMemoryEnd, kFirstMiBEnd - kLowMemoryEnd, kReserved),
  };
  for (const GuestMemory::Slot& slot : memory.slots()) {
    const Gpa begin = std::max(slot.begin, kFirstMiBEnd);
    const Gpa end = slot.begin + slot.size;
    if (begin < end) map.push_back(entry(begin, end - begin, kUsable));
  }
  return map;
}

Result<> write_tables(GuestMemory& memory) {
  TRY(memory.write(kGdt, std::as_bytes(std::span(kDescriptors))));

  std::vector<std::uint64_t> tables((2 + kDirectories) * kEntries);
  const auto table_address = [](std::uint64_t table) { return kPageTables.value + table * kPageBytes; };
  tables[0] = table_address(1) | kTable;
  for (std::uint64_t directory = 0; directory < kDirectories; ++directory) {
    tables[kEntries + directory] = table_address(2 + directory) | kTable;
  }
  for (std::uint64_t page = 0; page < kDirectories * kEntries; ++page) {
    tables[2 * kEntries + page] = page << 21 | kPage2MiB;
  }
  return memory.write(kPageTables, std::as_bytes(std::span(tables)));
}

Result<> write_boot_params(GuestMemory& memory, setup_header header, std::string_view cmdline, Initramfs initramfs,
                           Gpa rsdp, const RngSeed& seed) {
  header.type_of_loader = kUnknownLoader;
  header.vid_mode = kNormalVideoMode;
  header.cmd_line_ptr = static_cast<std::uint32_t>(kCommandLine.value);
  header.ramdisk_image = static_cast<std::uint32_t>(initramfs.begin.value);
  header.ramdisk_size = initramfs.bytes;
  header.setup_data = kSetupData.value;

  boot_params params{};
  static_assert(sizeof(params) == kPageBytes);
  params.hdr = header;
  params.acpi_rsdp_addr = rsdp.value;
  const auto map = memory_map(memory);
  static_assert(sizeof(params.e820_table) / sizeof(boot_e820_entry) >= 4);  // What memory_map() has at most.
  std::copy(map.begin(), map.end(), params.e820_table);
  params.e820_entries = static_cast<std::uint8_t>(map.size());
  TRY(memory.write(kZeroPage, bytes_of(params)));

  TRY(memory.write(kCommandLine, as_bytes(cmdline)));
  constexpr std::byte kNul{0};
  TRY(memory.write(kCommandLine + cmdline.size(), bytes_of(kNul)));

  setup_data node{};
  node.type = kSetupRngSeed;
  node.len = static_cast<std::uint32_t>(seed.size());
  TRY(memory.write(kSetupData, bytes_of(node)));
  return memory.write(kSetupData + sizeof(node), seed);
}

}  // namespace panicroom::kvm
