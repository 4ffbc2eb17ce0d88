#include "agent/kexec/boot_params.h"

#include <asm/bootparam.h>

#include <algorithm>
#include <cstring>

namespace panicroom::kexec {
namespace {

// enum e820_type, arch/x86/include/asm/e820/types.h.
constexpr std::uint32_t kE820Ram = 1;
constexpr std::uint32_t kE820Reserved = 2;
constexpr std::uint32_t kE820Acpi = 3;
constexpr std::uint32_t kE820Nvs = 4;

constexpr std::uint32_t kHeaderMagic = 0x53726448;  // "HdrS"
constexpr std::uint16_t kBootFlag = 0xaa55;
constexpr std::uint16_t kProtocol = 0x020f;
constexpr std::uint8_t kLoaderWithoutANumber = 0xff;
constexpr std::uint8_t kLoadedHigh = 1;
constexpr std::uint32_t kSetupRngSeed = 9;
constexpr PhysicalRange kLowMegabyte{{0}, {1 << 20}};

static_assert(sizeof(boot_params) == kBootParamsBytes);

struct SeedData {
  std::uint64_t next = 0;
  std::uint32_t type = kSetupRngSeed;
  std::uint32_t length = kSeedBytes;
};

std::uint32_t low_half(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high_half(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

Result<> add_memory(boot_params& params, const std::vector<PhysicalRange>& ranges, std::uint32_t type) {
  for (const auto& range : ranges) {
    if (params.e820_entries == E820_MAX_ENTRIES_ZEROPAGE) {
      return invalid_input("the machine has more than {} ranges of memory", E820_MAX_ENTRIES_ZEROPAGE);
    }
    auto& entry = params.e820_table[params.e820_entries++];
    entry.addr = range.begin.value;
    entry.size = range.size();
    entry.type = type;
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> build_boot_params(const BootParamsPlan& plan) {
  const auto running = load<boot_params>(plan.running, 0);
  if (!running) return invalid_input("the running kernel's boot_params has {} bytes", plan.running.size());
  boot_params params;
  std::memset(&params, 0, sizeof(params));
  params.screen_info = running->screen_info;
  params.acpi_rsdp_addr = running->acpi_rsdp_addr;

  auto& header = params.hdr;
  header.boot_flag = kBootFlag;
  header.header = kHeaderMagic;
  header.version = kProtocol;
  header.type_of_loader = kLoaderWithoutANumber;
  header.loadflags = kLoadedHigh;
  header.cmdline_size = kCommandLineBytes - 1;
  header.cmd_line_ptr = low_half(plan.command_line.value);
  params.ext_cmd_line_ptr = high_half(plan.command_line.value);
  header.ramdisk_image = low_half(plan.initrd.begin.value);
  params.ext_ramdisk_image = high_half(plan.initrd.begin.value);
  header.ramdisk_size = low_half(plan.initrd.size());
  params.ext_ramdisk_size = high_half(plan.initrd.size());
  header.setup_data = plan.seed_data.value;

  TRY(add_memory(params, within(plan.machine.ram, kLowMegabyte), kE820Ram));
  // With crashkernel=,high the kernel reserves a little below 4 GiB as well, for what needs such addresses.
  if (plan.machine.crash_memory.size() > 1) {
    TRY(add_memory(params, {plan.machine.crash_memory.begin(), plan.machine.crash_memory.end() - 1}, kE820Ram));
  }
  TRY(add_memory(params, {plan.usable}, kE820Ram));
  TRY(add_memory(params, plan.machine.acpi_tables, kE820Acpi));
  TRY(add_memory(params, plan.machine.acpi_storage, kE820Nvs));
  TRY(add_memory(params, plan.machine.reserved, kE820Reserved));
  const auto bytes = std::as_bytes(std::span(&params, 1));
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

std::vector<std::byte> build_seed_data(Bytes seed) {
  const SeedData data;
  static_assert(sizeof(data) + kSeedBytes == kSeedDataBytes);
  std::vector<std::byte> bytes(kSeedDataBytes);
  std::memcpy(bytes.data(), &data, sizeof(data));
  std::memcpy(bytes.data() + sizeof(data), seed.data(), std::min(seed.size(), kSeedBytes));
  return bytes;
}

}  // namespace panicroom::kexec
