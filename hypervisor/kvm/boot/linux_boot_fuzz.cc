// Hostile kernel files, bare and as bzImages, into a small memory. What must hold besides not crashing: a kernel that
// is accepted is entered in RAM that the page tables map, the boot structures are whole after it was loaded, and an
// error is the file's and not the host's.
#include <elf.h>

#include <string>

#include "base/testing/require.h"
#include "hypervisor/kvm/boot/acpi_tables.h"
#include "hypervisor/kvm/boot/linux_boot.h"
#include "hypervisor/kvm/boot/synthetic_guest.h"
#include "kernels/image/synthetic_patch.h"

namespace {

using namespace panicroom;       // NOLINT(google-build-using-namespace): this file is the fuzz target alone.
using namespace panicroom::kvm;  // NOLINT(google-build-using-namespace)

constexpr std::uint64_t kRam = std::uint64_t{32} << 20;

const std::vector<std::byte>& file_of(std::uint8_t choice) {
  static const auto kFiles = [] {
    const auto elf = kernels::testing::build_elf(
        {{".text", 0xffffffff81000000, SHF_ALLOC | SHF_EXECINSTR, std::vector(0x1000, std::byte{0x90})},
         {".data", 0xffffffff81200000, SHF_ALLOC | SHF_WRITE, std::vector(0x100, std::byte{0xdd})}});
    std::vector<std::vector<std::byte>> files = {elf};
    for (const auto compression : {kernels::Compression::kNone, kernels::Compression::kGzip}) {
      files.push_back(kvm::testing::bootable_bzimage(kernels::testing::compress(compression, elf)));
    }
    return files;
  }();
  return kFiles[choice % kFiles.size()];
}

// One memory for all inputs, empty again for each: to make one costs more than to load into it.
GuestMemory& fresh_memory() {
  static GuestMemory memory = *GuestMemory::create(kRam);
  static const auto kEmpty = *memory.freeze();
  require(memory.restore(kEmpty).has_value(), "memory can be emptied");
  return memory;
}

template <typename T>
T value_at(const GuestMemory& memory, std::uint64_t at) {
  T value{};
  require(memory.read(Gpa{at}, std::as_writable_bytes(std::span(&value, 1))).has_value(), "an address in RAM");
  return value;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const Bytes input = std::as_bytes(std::span(data, size)).subspan(4);
  const bool raw = data[0] % 8 == 0;
  auto file = raw ? std::vector(input.begin(), input.end()) : kernels::testing::patched(file_of(data[1]), input);
  BootRequest request;
  request.kernel = "kernel";
  request.cmdline = std::string(std::size_t{data[2]} * 16, 'c');
  request.unpack_bzimage = (data[0] & 0x80) != 0;
  const std::vector<std::byte> initramfs(std::size_t{data[3]} << 12, std::byte{0x1f});

  GuestMemory& memory = fresh_memory();
  const auto entry = load_kernel(memory, request, std::move(file), initramfs);
  if (!entry) {
    require(!entry.error().message().empty() && entry.error().kind() != ErrorKind::kHost, "the file is to blame");
    return 0;
  }
  require(entry->rip < kRam, "the entry is in RAM");
  const auto params = value_at<boot_params>(memory, entry->rsi);
  require(params.e820_entries == 3 && params.hdr.type_of_loader == 0xff, "the zero page is whole");
  require(value_at<std::uint64_t>(memory, entry->cr3) == (entry->cr3 + kPageBytes | 0x23), "so are the page tables");
  require(value_at<std::uint64_t>(memory, entry->gdt_base + entry->code_selector) == 0x00af9b000000ffff, "and the GDT");
  require(value_at<char>(memory, params.hdr.cmd_line_ptr + request.cmdline.size()) == '\0', "and the command line");
  require(value_at<std::uint64_t>(memory, params.acpi_rsdp_addr) == 0x2052'5450'2044'5352, "and the RSDP");
  require(params.hdr.ramdisk_size == initramfs.size(), "the initramfs is there");
  if (!initramfs.empty()) {
    require(value_at<std::uint8_t>(memory, params.hdr.ramdisk_image + params.hdr.ramdisk_size - 1) == 0x1f,
            "to its end");
  }
  return 0;
}
