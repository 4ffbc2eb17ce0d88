#include "hypervisor/kvm/boot/linux_boot.h"

#include <elf.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/bytes.h"
#include "base/file.h"
#include "base/testing/temporary_directory.h"
#include "hypervisor/kvm/boot/acpi_tables.h"
#include "hypervisor/kvm/boot/synthetic_guest.h"
#include "kernels/image/bzimage.h"
#include "kernels/image/elf_image.h"

namespace panicroom::kvm {
namespace {

using kernels::Compression;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

const std::vector<std::byte>& sample_elf() {
  static const auto kElf = kernels::testing::build_elf(
      {{".text", 0xffffffff81000000, SHF_ALLOC | SHF_EXECINSTR, std::vector(0x1000, std::byte{0x90})},
       {".data", 0xffffffff81200000, SHF_ALLOC | SHF_WRITE, std::vector(0x100, std::byte{0xdd})}});
  return kElf;
}

std::vector<std::byte> sample_bzimage() {
  return testing::bootable_bzimage(kernels::testing::compress(Compression::kZstd, sample_elf()));
}

GuestMemory memory_of(std::uint64_t bytes) {
  auto memory = GuestMemory::create(bytes);
  EXPECT_TRUE(memory) << memory.error().message();
  return *std::move(memory);
}

std::vector<std::byte> bytes_at(const GuestMemory& memory, std::uint64_t at, std::size_t size) {
  std::vector<std::byte> bytes(size);
  EXPECT_TRUE(memory.read(Gpa{at}, bytes)) << at;
  return bytes;
}

template <typename T>
T value_at(const GuestMemory& memory, std::uint64_t at) {
  return *load<T>(bytes_at(memory, at, sizeof(T)), 0);
}

boot_params params_of(const GuestMemory& memory, const EntryState& entry) {
  return value_at<boot_params>(memory, entry.rsi);
}

BootRequest request_with(std::string cmdline = "console=ttyS0") {
  BootRequest request;
  request.kernel = "vmlinuz";
  request.initramfs = "initrd.img";
  request.cmdline = std::move(cmdline);
  request.vcpus = 2;
  for (std::size_t i = 0; i < request.rng_seed.size(); ++i) request.rng_seed[i] = std::byte(0xa0 + i);
  return request;
}

EntryState must_load(GuestMemory& memory, const BootRequest& request, std::vector<std::byte> kernel,
                     Bytes initramfs = {}) {
  const auto entry = load_kernel(memory, request, std::move(kernel), initramfs);
  EXPECT_TRUE(entry) << entry.error().message();
  return entry.value_or(EntryState());
}

Error refusal(std::vector<std::byte> kernel, const BootRequest& request = request_with(), std::uint64_t ram = 64 * kMiB,
              Bytes initramfs = {}) {
  auto memory = memory_of(ram);
  const auto entry = load_kernel(memory, request, std::move(kernel), initramfs);
  return entry ? Error(ErrorKind::kHost, "no error") : entry.error();
}

// Where an address leads to by the page tables that the vCPU starts with (Intel SDM Vol. 3A, 4.5).
std::uint64_t translate(const GuestMemory& memory, std::uint64_t cr3, std::uint64_t at) {
  std::uint64_t table = cr3;
  for (const unsigned shift : {39, 30, 21}) {
    const auto entry = value_at<std::uint64_t>(memory, table + (at >> shift & 0x1ff) * 8);
    EXPECT_EQ(entry & 3, 3U) << at;
    table = entry & 0x000f'ffff'ffff'f000;
    EXPECT_EQ((entry & 0x80) != 0, shift == 21);
  }
  return table | (at & 0x1f'ffff);
}

TEST(LoadKernelTest, ABzImageIsEnteredAtItsPreferredAddress) {
  auto memory = memory_of(64 * kMiB);
  const auto file = sample_bzimage();
  const auto entry = must_load(memory, request_with(), file);
  EXPECT_EQ(entry.rip, 0x1000200U);
  const auto code = bytes_at(memory, 0x1000000, file.size() - testing::kSyntheticCode);
  EXPECT_TRUE(std::equal(code.begin(), code.end(), file.begin() + testing::kSyntheticCode));
}

TEST(LoadKernelTest, ABzImageIsPutLowerWhereItsPreferredAddressIsNotFree) {
  auto memory = memory_of(16 * kMiB);
  EXPECT_EQ(must_load(memory, request_with(), sample_bzimage()).rip, 0x200200U);
  auto fixed = sample_bzimage();
  testing::store(fixed, testing::kRelocatableKernel, std::uint8_t{0});
  const auto error = refusal(fixed, request_with(), 16 * kMiB);
  EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("vmlinuz: "), HasSubstr("give the machine more memory")));
  EXPECT_EQ(refusal(sample_bzimage(), request_with(), 10 * kMiB - kPageBytes).kind(), ErrorKind::kInvalidInput);
  auto just_enough = memory_of(10 * kMiB);
  must_load(just_enough, request_with(), sample_bzimage());
}

TEST(LoadKernelTest, TheVcpuEntersInFlat64BitMode) {
  auto memory = memory_of(64 * kMiB);
  const auto entry = must_load(memory, request_with(), sample_bzimage());
  for (const std::uint64_t at : {std::uint64_t{0}, entry.rip, std::uint64_t{0xfee00030}, 4 * kGiB - 1}) {
    EXPECT_EQ(translate(memory, entry.cr3, at), at);
  }
  EXPECT_EQ(value_at<std::uint64_t>(memory, entry.cr3 + 8), 0U);
  EXPECT_EQ(entry.gdt_limit, 31);
  EXPECT_EQ(value_at<std::uint64_t>(memory, entry.gdt_base + entry.code_selector), 0x00af9b000000ffffU);
  EXPECT_EQ(value_at<std::uint64_t>(memory, entry.gdt_base + entry.data_selector), 0x00cf93000000ffffU);
  EXPECT_EQ(entry.rsp % 16, 0U);
}

TEST(LoadKernelTest, BootParamsTellWhatTheLoaderKnows) {
  auto memory = memory_of(64 * kMiB);
  const std::vector<std::byte> initramfs(0x12345, std::byte{0x1f});
  const auto request = request_with();
  const auto file = sample_bzimage();
  const auto entry = must_load(memory, request, file, initramfs);
  const auto params = params_of(memory, entry);
  // The kernel's own header, ...
  EXPECT_EQ(+params.hdr.header, 0x53726448U);
  EXPECT_EQ(+params.hdr.version, 0x020f);
  EXPECT_EQ(+params.hdr.pref_address, 0x1000000U);
  EXPECT_EQ(+params.hdr.init_size, 0x800000U);
  EXPECT_EQ(params.sentinel, 0);
  // ... and what the loader adds.
  EXPECT_EQ(params.hdr.type_of_loader, 0xff);
  EXPECT_EQ(as_text(bytes_at(memory, params.hdr.cmd_line_ptr, 14)), std::string_view("console=ttyS0\0", 14));
  EXPECT_EQ(+params.hdr.ramdisk_size, 0x12345U);
  EXPECT_EQ(+params.hdr.ramdisk_image, 64 * kMiB - 0x13000);
  EXPECT_EQ(bytes_at(memory, params.hdr.ramdisk_image, 0x12345), initramfs);
  EXPECT_EQ(+params.acpi_rsdp_addr, 0xe0000U);
  EXPECT_EQ(bytes_at(memory, params.acpi_rsdp_addr, 2000), [] {
    auto tables = *build_acpi_tables(2);
    tables.resize(2000);
    return tables;
  }());
  const std::uint64_t seed = params.hdr.setup_data;
  EXPECT_EQ(value_at<std::uint64_t>(memory, seed), 0U);
  EXPECT_EQ(value_at<std::uint32_t>(memory, seed + 8), 9U);
  EXPECT_EQ(value_at<std::uint32_t>(memory, seed + 12), 32U);
  const auto seed_bytes = bytes_at(memory, seed + 16, 32);
  EXPECT_TRUE(std::equal(seed_bytes.begin(), seed_bytes.end(), request.rng_seed.begin()));
}

TEST(LoadKernelTest, WithoutInitramfsThereIsNone) {
  auto memory = memory_of(64 * kMiB);
  const auto params = params_of(memory, must_load(memory, request_with(), sample_bzimage()));
  EXPECT_EQ(+params.hdr.ramdisk_size, 0U);
  EXPECT_EQ(+params.hdr.ramdisk_image, 0U);
}

struct Entry {
  std::uint64_t begin;
  std::uint64_t size;
  std::uint32_t type;
  friend bool operator==(const Entry&, const Entry&) = default;
};

std::vector<Entry> map_for(std::uint64_t ram) {
  auto memory = memory_of(ram);
  const auto params = params_of(memory, must_load(memory, request_with(), sample_bzimage()));
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < params.e820_entries; ++i) {
    const boot_e820_entry& entry = params.e820_table[i];
    entries.push_back({entry.addr, entry.size, entry.type});
  }
  return entries;
}

TEST(LoadKernelTest, TheMemoryMapIsThatOfAPc) {
  const std::vector<Entry> small = {{0, 0x9fc00, 1}, {0x9fc00, 0x60400, 2}, {kMiB, 63 * kMiB, 1}};
  EXPECT_EQ(map_for(64 * kMiB), small);
  const std::vector<Entry> large = {
      {0, 0x9fc00, 1}, {0x9fc00, 0x60400, 2}, {kMiB, 3 * kGiB - kMiB, 1}, {4 * kGiB, 2 * kGiB, 1}};
  EXPECT_EQ(map_for(5 * kGiB), large);
}

TEST(LoadKernelTest, BootStructuresLeaveSmallGuestsTheirPlaces) {
  auto memory = memory_of(64 * kMiB);
  const auto entry = must_load(memory, request_with(std::string(2047, 'x')), sample_elf());
  const auto untouched = [&](std::uint64_t begin, std::uint64_t end) {
    const auto bytes = bytes_at(memory, begin, end - begin);
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
  };
  EXPECT_TRUE(untouched(0, kBootStructures.value));
  EXPECT_TRUE(untouched(kBootStructuresEnd.value, kAcpiTables.value));
  EXPECT_TRUE(untouched(0x100000, 0x1000000));
  EXPECT_FALSE(untouched(entry.rsi, entry.rsi + kPageBytes));
}

TEST(LoadKernelTest, AVmlinuxIsEnteredAtItsPhysicalEntry) {
  for (const Compression compression : {Compression::kNone, Compression::kGzip}) {
    auto memory = memory_of(64 * kMiB);
    const auto entry = must_load(memory, request_with(), kernels::testing::compress(compression, sample_elf()));
    EXPECT_EQ(entry.rip, 0x1000000U);
    EXPECT_EQ(value_at<std::uint32_t>(memory, 0x1200000), 0xddddddddU);
    const auto params = params_of(memory, entry);
    EXPECT_EQ(+params.hdr.header, 0x53726448U);
    EXPECT_EQ(+params.hdr.boot_flag, 0xaa55);
    EXPECT_GE(+params.hdr.version, 0x020c);
  }
}

TEST(LoadKernelTest, ABzImageCanBeUnpackedHere) {
  auto memory = memory_of(64 * kMiB);
  auto request = request_with();
  request.unpack_bzimage = true;
  const std::vector<std::byte> initramfs(100, std::byte{0x1f});
  const auto entry = must_load(memory, request, sample_bzimage(), initramfs);
  EXPECT_EQ(entry.rip, 0x1000000U);
  EXPECT_EQ(value_at<std::uint32_t>(memory, 0x1000000), 0x90909090U);
  EXPECT_EQ(value_at<std::uint32_t>(memory, 0x1200000), 0xddddddddU);
  const auto params = params_of(memory, entry);
  EXPECT_EQ(+params.hdr.init_size, 0x800000U);
  EXPECT_EQ(+params.hdr.ramdisk_size, 100U);
}

TEST(LoadKernelTest, WhatUnpacksToMoreThanTheMachineHasIsRefused) {
  auto elf = sample_elf();
  elf.resize(20 * kMiB);
  auto request = request_with();
  request.unpack_bzimage = true;
  const auto error =
      refusal(testing::bootable_bzimage(kernels::testing::compress(Compression::kZstd, elf)), request, 18 * kMiB);
  EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("vmlinuz: unpacking it into 18 MiB of memory"), HasSubstr("more than")));
}

TEST(LoadKernelTest, TheCommandLineIsBoundedByTheKernel) {
  auto memory = memory_of(64 * kMiB);
  must_load(memory, request_with(std::string(2047, 'x')), sample_bzimage());
  for (const bool is_elf : {false, true}) {
    const auto error = refusal(is_elf ? sample_elf() : sample_bzimage(), request_with(std::string(2048, 'x')));
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    EXPECT_THAT(error.message(), HasSubstr("vmlinuz: its command line may have 2047 bytes, not 2048"));
  }
  auto old = sample_bzimage();
  testing::store(old, testing::kCmdlineSize, std::uint32_t{0});
  EXPECT_THAT(refusal(old, request_with(std::string(256, 'x'))).message(), HasSubstr("255"));
  auto hostile = sample_bzimage();
  testing::store(hostile, testing::kCmdlineSize, ~std::uint32_t{0});
  EXPECT_THAT(refusal(hostile, request_with(std::string(kCommandLineBytes, 'x'))).message(), HasSubstr("65535"));
  EXPECT_THAT(refusal(sample_bzimage(), request_with(std::string("a\0b", 3))).message(), HasSubstr("NUL"));
}

TEST(LoadKernelTest, TheInitramfsStaysWhereTheKernelReaches) {
  auto memory = memory_of(64 * kMiB);
  auto low = sample_bzimage();
  testing::store(low, testing::kInitrdAddrMax, std::uint32_t{0x1ffffff});
  const std::vector<std::byte> initramfs(kMiB, std::byte{0x1f});
  EXPECT_EQ(+params_of(memory, must_load(memory, request_with(), low, initramfs)).hdr.ramdisk_image, 0x1f00000U);
  // The kernel takes 16 to 24 MiB.
  const std::vector<std::byte> too_large(8 * kMiB + 1, std::byte{0x1f});
  const auto error = refusal(low, request_with(), 64 * kMiB, too_large);
  EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("initrd.img: "), HasSubstr("0x1800000 and 0x2000000")));
  const std::vector<std::byte> huge(65 * kMiB, std::byte{0x1f});
  EXPECT_EQ(refusal(sample_bzimage(), request_with(), 64 * kMiB, huge).kind(), ErrorKind::kInvalidInput);
}

TEST(LoadKernelTest, KernelsWithoutA64BitEntryAreNotSupported) {
  auto narrow = sample_bzimage();
  testing::store(narrow, testing::kXloadflags, std::uint16_t{0});
  EXPECT_EQ(refusal(narrow).kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(refusal(narrow).message(), HasSubstr("vmlinuz: unsupported architecture: a 32-bit x86 kernel"));
  auto old = sample_bzimage();
  testing::store(old, testing::kHeaderVersion, std::uint16_t{0x020b});
  EXPECT_EQ(refusal(old).kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(refusal(old).message(), HasSubstr("boot protocol 2.11"));
}

TEST(LoadKernelTest, BrokenHeadersAreRefused) {
  auto odd = sample_bzimage();
  testing::store(odd, testing::kPrefAddress, std::uint64_t{0});
  testing::store(odd, testing::kKernelAlignment, std::uint32_t{0x300000});
  EXPECT_THAT(refusal(odd).message(), HasSubstr("kernel_alignment is 0x300000"));
  auto far = sample_bzimage();
  testing::store(far, testing::kPrefAddress, ~std::uint64_t{0});
  testing::store(far, testing::kKernelAlignment, std::uint32_t{0x80000000});
  EXPECT_THAT(refusal(far).message(), HasSubstr("give the machine more memory"));
  auto greedy = sample_bzimage();
  testing::store(greedy, testing::kInitSize, ~std::uint32_t{0});
  EXPECT_EQ(refusal(greedy).kind(), ErrorKind::kInvalidInput);
  const auto file = sample_bzimage();
  for (std::size_t size = 0; size < file.size() - 4096 - 64; size += 61) {
    const auto error = refusal({file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)});
    EXPECT_NE(error.message(), "no error") << size;
  }
}

TEST(LoadKernelTest, AVmlinuxInTheLoadersPlacesIsRefused) {
  for (const std::uint64_t at : {kZeroPage.value, kCommandLine.value, kSetupData.value, kAcpiTables.value}) {
    const auto elf = kernels::testing::build_elf(
        {{".text", 0x1000000, SHF_ALLOC | SHF_EXECINSTR, {std::byte{0xf4}}}, {".data", at, SHF_ALLOC, {std::byte{1}}}});
    EXPECT_THAT(refusal(elf).message(), HasSubstr("overlaps what the loader has")) << at;
  }
}

TEST(LoadKernelTest, AMachineNeedsMemoryAndCpus) {
  EXPECT_THAT(refusal(sample_bzimage(), request_with(), kMiB).message(), HasSubstr("too few"));
  auto request = request_with();
  request.vcpus = 0;
  EXPECT_EQ(refusal(sample_bzimage(), request).kind(), ErrorKind::kInvalidInput);
}

TEST(LoadKernelTest, ReadsFilesAndNamesThoseThatAreMissing) {
  const TemporaryDirectory directory;
  auto request = request_with();
  request.kernel = directory.path() / "kernel";
  request.initramfs = directory.path() / "initramfs";
  auto memory = memory_of(64 * kMiB);
  EXPECT_THAT(load_kernel(memory, request).error().message(), HasSubstr(request.kernel.native()));
  ASSERT_TRUE(write_file(request.kernel, sample_bzimage()));
  const auto missing = load_kernel(memory, request);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(missing.error().message(), HasSubstr(request.initramfs.native()));
  ASSERT_TRUE(write_file(request.initramfs, "cpio"));
  auto entry = load_kernel(memory, request);
  ASSERT_TRUE(entry) << entry.error().message();
  EXPECT_EQ(+params_of(memory, *entry).hdr.ramdisk_size, 4U);
  request.initramfs.clear();
  entry = load_kernel(memory, request);
  ASSERT_TRUE(entry) << entry.error().message();
  EXPECT_EQ(+params_of(memory, *entry).hdr.ramdisk_size, 0U);
}

class RealKernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("PANICROOM_TEST_KERNEL");
    if (path == nullptr || *path == '\0') GTEST_SKIP() << "PANICROOM_TEST_KERNEL names no kernel to load";
    request_ = request_with();
    request_.kernel = path;
    request_.initramfs.clear();
  }
  BootRequest request_;
};

TEST_F(RealKernelTest, ItsOwnEntryIsFound) {
  auto memory = memory_of(512 * kMiB);
  const auto entry = load_kernel(memory, request_);
  ASSERT_TRUE(entry) << entry.error().message();
  const auto params = params_of(memory, *entry);
  EXPECT_EQ(entry->rip, params.hdr.pref_address + 0x200);
  // startup_64 of arch/x86/boot/compressed/head_64.S begins with cld; cli.
  EXPECT_EQ(value_at<std::uint16_t>(memory, entry->rip), 0xfafc);
  EXPECT_GE(+params.hdr.cmdline_size, 255U);
}

TEST_F(RealKernelTest, TheKernelInsideIsLoaded) {
  auto memory = memory_of(512 * kMiB);
  request_.unpack_bzimage = true;
  const auto entry = load_kernel(memory, request_);
  ASSERT_TRUE(entry) << entry.error().message();
  EXPECT_GE(entry->rip, 0x1000000U);
  auto unpacked = kernels::unpack_kernel(*read_file(request_.kernel));
  ASSERT_TRUE(unpacked);
  const auto elf = kernels::ElfImage::parse(std::move(unpacked->elf));
  ASSERT_TRUE(elf);
  EXPECT_EQ(entry->rip, elf->entry_physical_address());
  for (const auto& segment : elf->segments()) {
    const auto content = bytes_at(memory, segment.physical_address, segment.content.size());
    EXPECT_TRUE(std::equal(content.begin(), content.end(), segment.content.begin()));
  }
}

}  // namespace
}  // namespace panicroom::kvm
