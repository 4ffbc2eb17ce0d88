#include "hypervisor/kvm/boot/linux_boot.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "base/bytes.h"
#include "base/file.h"
#include "hypervisor/kvm/boot/acpi_tables.h"
#include "hypervisor/kvm/boot/elf_loader.h"
#include "kernels/image/bzimage.h"

namespace panicroom::kvm {
namespace {

// Offsets in a bzImage: boot.rst, "The Real-Mode Kernel Header".
constexpr std::size_t kHeaderAt = 0x1f1;
constexpr std::size_t kJumpTargetAt = 0x201;  // The header ends this far behind 0x202.
constexpr std::size_t kJumpFrom = 0x202;
constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kEntry64 = 0x200;  // From the protected-mode code's beginning.
constexpr std::uint16_t kFirstProtocolWith64BitEntry = 0x020c;
constexpr std::uint32_t kOldCmdlineSize = 255;

struct LoadedKernel {
  setup_header header{};
  Gpa entry;
  Gpa end;  // Nothing may be put below this, from 1 MiB up.
};

// For a kernel that comes without a header: what Linux' own says (arch/x86/boot/header.S).
setup_header blank_header() {
  setup_header header{};
  header.boot_flag = 0xaa55;
  header.header = 0x53726448;  // "HdrS"
  header.version = 0x020f;
  header.loadflags = LOADED_HIGH;
  header.xloadflags = XLF_KERNEL_64;
  header.initrd_addr_max = 0x7fffffff;
  header.kernel_alignment = 0x200000;
  header.cmdline_size = 2047;  // COMMAND_LINE_SIZE - 1
  return header;
}

// The setup header of a file whose header has been checked; of an older one, the rest is 0.
setup_header header_of(Bytes file) {
  const std::size_t end = kJumpFrom + std::to_integer<std::size_t>(file[kJumpTargetAt]);
  setup_header header{};
  std::memcpy(&header, file.data() + kHeaderAt, std::min(end - kHeaderAt, sizeof(header)));
  return header;
}

// Where the protected-mode code goes: where the kernel would move itself to otherwise (pref_address), if there is room.
Result<Gpa> choose_address(const setup_header& header, std::uint64_t bytes, std::uint64_t ram) {
  const auto fits = [&](std::uint64_t at) { return at >= kFirstMiBEnd.value && at <= ram && bytes <= ram - at; };
  const std::uint64_t preferred = header.pref_address;
  if (fits(preferred)) return Gpa{preferred};
  if (header.relocatable_kernel != 0) {
    const std::uint64_t alignment = header.kernel_alignment;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
      return invalid_input("the setup header's kernel_alignment is {:#x}, which is no power of two", alignment);
    }
    const std::uint64_t lowest = (kFirstMiBEnd.value + alignment - 1) & ~(alignment - 1);
    if (fits(lowest)) return Gpa{lowest};
  }
  return invalid_input(
      "the kernel takes {:#x} bytes to unpack itself (init_size), from {:#x} up, which the {:#x} bytes of memory below "
      "4 "
      "GiB have not: give the machine more memory",
      bytes, preferred, ram);
}

Result<LoadedKernel> load_bzimage(GuestMemory& memory, Bytes file) {
  const kernels::SetupHeader checked = TRY(kernels::parse_setup_header(file));
  if (checked.protocol < kFirstProtocolWith64BitEntry) {
    return unsupported("boot protocol {}.{:02}: there is a 64-bit entry only from 2.12 on (Linux 3.8)",
                       checked.protocol >> 8, checked.protocol & 0xff);
  }
  LoadedKernel kernel;
  kernel.header = header_of(file);
  // parse_setup_header() has seen that the file is longer than this.
  const std::uint64_t setup_sectors = kernel.header.setup_sects == 0 ? 4 : kernel.header.setup_sects;
  const Bytes code = file.subspan((setup_sectors + 1) * kSector);
  if (code.size() <= kEntry64) return invalid_input("truncated: the file ends before the kernel's 64-bit entry");
  const std::uint64_t bytes = std::max<std::uint64_t>(code.size(), checked.init_size);
  const Gpa begin = TRY(choose_address(kernel.header, bytes, memory.slots().front().size));
  TRY(memory.write(begin, code));
  kernel.entry = begin + kEntry64;
  kernel.end = begin + bytes;
  return kernel;
}

Result<LoadedKernel> load_unpacked(GuestMemory& memory, std::vector<std::byte> file) {
  static constexpr std::array<GpaRange, 2> kTaken = {
      GpaRange{kBootStructures, kBootStructuresEnd},
      GpaRange{kAcpiTables, kAcpiTables + kAcpiTablesLimit},
  };
  LoadedKernel kernel;
  kernel.header = blank_header();
  if (kernels::is_bzimage(file)) {
    TRY(kernels::parse_setup_header(file));
    kernel.header = header_of(file);
  }
  // What is packed is what has to be in memory, nearly.
  const auto limit = std::min<std::uint64_t>(kernels::kMaxKernelBytes, memory.size());
  auto unpacked = TRY_CONTEXT(fmt::format("unpacking it into {} MiB of memory", memory.size() >> 20),
                              kernels::unpack_kernel(std::move(file), limit));
  const LoadedElf loaded = TRY(load_elf(memory, std::move(unpacked.elf), kTaken));
  kernel.entry = loaded.entry;
  kernel.end = std::max(loaded.end, kFirstMiBEnd);
  return kernel;
}

Result<> check_cmdline(const LoadedKernel& kernel, const std::string& cmdline) {
  if (cmdline.find('\0') != std::string::npos) return invalid_input("the kernel's command line has a NUL in it");
  const std::uint32_t stated = kernel.header.cmdline_size;
  const std::uint64_t limit = std::min<std::uint64_t>(stated == 0 ? kOldCmdlineSize : stated, kCommandLineBytes - 1);
  if (cmdline.size() > limit) {
    return invalid_input("its command line may have {} bytes, not {}: shorten it", limit, cmdline.size());
  }
  return {};
}

// As high as the kernel can reach, away from where it unpacks itself and reserves memory for a crash kernel.
Result<Initramfs> load_initramfs(GuestMemory& memory, const LoadedKernel& kernel, Bytes content) {
  if (content.empty()) return Initramfs{};
  const std::uint64_t limit =
      std::min<std::uint64_t>(std::uint64_t{kernel.header.initrd_addr_max} + 1, memory.slots().front().size);
  if (content.size() <= limit) {
    const Gpa begin{(limit - content.size()) & ~(kPageBytes - 1)};
    if (begin >= kernel.end) {
      TRY(memory.write(begin, content));
      return Initramfs{begin, static_cast<std::uint32_t>(content.size())};
    }
  }
  return invalid_input("{} bytes do not fit between the kernel's end at {:#x} and {:#x}: give the machine more memory",
                       content.size(), kernel.end.value, limit);
}

}  // namespace

Result<EntryState> load_kernel(GuestMemory& memory, const BootRequest& request) {
  auto kernel = TRY(read_file(request.kernel));
  std::vector<std::byte> initramfs;
  if (!request.initramfs.empty()) initramfs = TRY(read_file(request.initramfs));
  return load_kernel(memory, request, std::move(kernel), initramfs);
}

Result<EntryState> load_kernel(GuestMemory& memory, const BootRequest& request, std::vector<std::byte> kernel,
                               Bytes initramfs) {
  if (memory.slots().front().size <= kFirstMiBEnd.value) {
    return invalid_input("{} bytes of memory are too few to load anything: give the machine more", memory.size());
  }
  const auto tables = TRY(build_acpi_tables(request.vcpus));
  TRY(memory.write(kAcpiTables, tables));
  TRY(write_tables(memory));
  const bool as_it_is = kernels::is_bzimage(kernel) && !request.unpack_bzimage;
  const LoadedKernel loaded = TRY_CONTEXT(
      request.kernel.native(), as_it_is ? load_bzimage(memory, kernel) : load_unpacked(memory, std::move(kernel)));
  TRY_CONTEXT(request.kernel.native(), check_cmdline(loaded, request.cmdline));
  const Initramfs placed = TRY_CONTEXT(request.initramfs.native(), load_initramfs(memory, loaded, initramfs));
  TRY(write_boot_params(memory, loaded.header, request.cmdline, placed, kAcpiTables, request.rng_seed));

  EntryState entry;
  entry.rip = loaded.entry.value;
  entry.rsi = kZeroPage.value;
  entry.rsp = kBootStackTop.value;
  entry.cr3 = kPageTables.value;
  entry.gdt_base = kGdt.value;
  entry.gdt_limit = kGdtLimit;
  return entry;
}

}  // namespace panicroom::kvm
