#include "agent/kexec/crash_image.h"

#include <asm/bootparam.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "agent/kexec/capture_entry.h"
#include "agent/kexec/synthetic_vmlinux.h"
#include "agent/kexec/vmlinux.h"
#include "agent/vmcore/elf_core.h"

namespace panicroom::kexec {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kLinked = 0x1000000;
constexpr PhysicalRange kCrash{{0x13000000}, {0x14000000}};  // 16 MiB.

// A field of a packed structure, to which no reference may be bound.
template <typename T>
T value(T field) {
  return field;
}

class CrashImageTest : public testing::Test {
 protected:
  CrashImageTest() {
    auto& screen = reinterpret_cast<boot_params*>(running_.data())->screen_info;
    screen.orig_video_cols = 80;
    reinterpret_cast<boot_params*>(running_.data())->acpi_rsdp_addr = 0xf5ad0;
    parts_.vmlinux = vmlinux_;
    parts_.initrd = initrd_;
    parts_.command_line = "console=ttyS0 nr_cpus=1";
    parts_.machine.ram = {{{0x1000}, {0x9fc00}}, {{0x100000}, {0x1ffe0000}}};
    parts_.machine.crash_memory = {kCrash};
    parts_.machine.acpi_tables = {{{0x1ffe0000}, {0x1fff0000}}};
    parts_.machine.acpi_storage = {{{0x1fff0000}, {0x20000000}}};
    parts_.machine.reserved = {{{0}, {0x1000}}, {{0x9fc00}, {0xa0000}}};
    parts_.kernel = {.text = {0xffffffff9a600000},
                     .text_physical = {0x1b400000},
                     .text_bytes = 0x2e2c000,
                     .direct_map = {0xffff9e0f80000000}};
    parts_.cpu_notes = {{{0x1fc2a400}, 360}, {{0x1fd2a400}, 360}};
    parts_.vmcoreinfo = {{0x12345000}, 1024};
    parts_.running_boot_params = running_;
    parts_.seed.fill(std::byte{0xa5});
  }

  // The crash memory as kexec_load() leaves it: an unused byte is 0xee.
  std::vector<std::byte> loaded(const CrashImage& image) {
    std::vector<std::byte> memory(kCrash.size(), std::byte{0xee});
    for (const auto& segment : image.segments) {
      EXPECT_EQ(segment.at.value % kPageBytes, 0U);
      EXPECT_EQ(segment.bytes % kPageBytes, 0U);
      EXPECT_LE(segment.content.size(), segment.bytes);
      EXPECT_GE(segment.at, kCrash.begin);
      EXPECT_LE(segment.at + segment.bytes, kCrash.end);
      const auto to = memory.begin() + static_cast<std::ptrdiff_t>(segment.at - kCrash.begin);
      const auto end = to + static_cast<std::ptrdiff_t>(segment.bytes);
      EXPECT_TRUE(std::all_of(to, end, [](std::byte b) { return b == std::byte{0xee}; })) << "segments overlap";
      std::fill(std::copy(segment.content.begin(), segment.content.end(), to), end, std::byte{0});
    }
    return memory;
  }

  Bytes at(const std::vector<std::byte>& memory, std::uint64_t address, std::uint64_t bytes) {
    const auto part = slice(memory, address - kCrash.begin.value, bytes);
    EXPECT_TRUE(part) << "not in the crash memory: " << address;
    return part.value_or(Bytes());
  }

  // boot_params, where the entry's code says that they are.
  static std::uint64_t boot_params_of(const CrashImage& image) { return word(image, 16); }
  static std::uint64_t kernel_of(const CrashImage& image) { return word(image, 8); }

  std::string error() {
    const auto image = build_crash_image(parts_);
    return image ? "" : image.error().message();
  }

  std::vector<std::byte> vmlinux_ =
      synthetic_vmlinux({{kLinked, 0x5000, 0x5000}, {kLinked + 0x200000, 0x1800, 0x4400}}, kLinked + 0x70);
  std::vector<std::byte> initrd_ = std::vector<std::byte>(0x12345, std::byte{0x77});
  std::vector<std::byte> running_ = std::vector<std::byte>(kBootParamsBytes);
  CrashImageParts parts_;

 private:
  static std::uint64_t word(const CrashImage& image, std::size_t from_end) {
    for (const auto& segment : image.segments) {
      if (segment.at == image.entry)
        return load<std::uint64_t>(segment.content, segment.content.size() - from_end).value();
    }
    ADD_FAILURE() << "nothing is loaded at the entry";
    return 0;
  }
};

class MemoryReader : public vmcore::Reader {
 public:
  explicit MemoryReader(Bytes bytes) : bytes_(bytes) {}
  Result<> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    const auto part = slice(bytes_, offset, out.size());
    if (!part) return invalid_input("beyond the end");
    std::ranges::copy(*part, out.begin());
    return {};
  }
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }

 private:
  Bytes bytes_;
};

TEST_F(CrashImageTest, TheKernelIsMovedAsAWhole) {
  const auto image = build_crash_image(parts_);
  ASSERT_TRUE(image) << image.error().message();
  const auto memory = loaded(*image);
  const auto kernel = kernel_of(*image) - 0x70;
  EXPECT_EQ((kernel - kLinked) % kKernelAlignment, 0U);
  EXPECT_EQ(at(memory, kernel, 1)[0], std::byte{1});
  EXPECT_EQ(at(memory, kernel + 0x4fff, 1)[0], std::byte{1});
  EXPECT_EQ(at(memory, kernel + 0x200000, 1)[0], std::byte{2});
  EXPECT_EQ(at(memory, kernel + 0x201800, 1)[0], std::byte{0}) << ".bss";
  EXPECT_EQ(at(memory, kernel + 0x204fff, 1)[0], std::byte{0});
}

TEST_F(CrashImageTest, TheKernelKeepsItsDistanceFromTheAlignment) {
  vmlinux_ = synthetic_vmlinux({{kLinked + 0x3000, 0x5000, 0x5000}}, kLinked + 0x3000);
  parts_.vmlinux = vmlinux_;
  const auto image = build_crash_image(parts_);
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(kernel_of(*image) % kKernelAlignment, 0x3000U);
}

TEST_F(CrashImageTest, BootParamsTellOfCommandLineAndInitrdAndMemory) {
  const auto image = build_crash_image(parts_);
  ASSERT_TRUE(image) << image.error().message();
  const auto memory = loaded(*image);
  const auto params = load<boot_params>(at(memory, boot_params_of(*image), sizeof(boot_params)), 0).value();
  EXPECT_EQ(value(params.screen_info.orig_video_cols), 80);
  EXPECT_EQ(value(params.acpi_rsdp_addr), 0xf5ad0U);
  EXPECT_EQ(value(params.sentinel), 0) << "the kernel would throw most of it away";
  EXPECT_EQ(value(params.hdr.boot_flag), 0xaa55);
  EXPECT_EQ(value(params.hdr.header), 0x53726448U);
  EXPECT_GE(value(params.hdr.version), 0x20c);
  EXPECT_NE(value(params.hdr.type_of_loader), 0);

  ASSERT_EQ(value(params.hdr.ramdisk_size), initrd_.size());
  EXPECT_TRUE(std::ranges::equal(at(memory, params.hdr.ramdisk_image, initrd_.size()), initrd_));

  const std::string line(as_text(at(memory, params.hdr.cmd_line_ptr, kCommandLineBytes)).data());
  EXPECT_THAT(line, HasSubstr(" console=ttyS0 nr_cpus=1"));
  ASSERT_TRUE(line.starts_with("elfcorehdr=0x"));
  const auto core_header = std::stoull(line.substr(11), nullptr, 16);

  const auto seed = at(memory, params.hdr.setup_data, kSeedDataBytes);
  EXPECT_EQ(load<std::uint64_t>(seed, 0), 0U) << "the only one";
  EXPECT_EQ(load<std::uint32_t>(seed, 8), 9U);
  EXPECT_EQ(load<std::uint32_t>(seed, 12), kSeedBytes);
  EXPECT_EQ(seed[16], std::byte{0xa5});

  std::map<std::uint64_t, std::pair<std::uint64_t, std::uint32_t>> table;
  for (int i = 0; i < params.e820_entries; ++i) {
    const boot_e820_entry entry = params.e820_table[i];
    table[value(entry.addr)] = {entry.addr + entry.size, value(entry.type)};
  }
  const std::map<std::uint64_t, std::pair<std::uint64_t, std::uint32_t>> expected = {
      {0, {0x1000, 2}},
      {0x1000, {0x9fc00, 1}},
      {0x9fc00, {0xa0000, 2}},
      {kCrash.begin.value, {core_header, 1}},  // Not the core header: it is to stay as it is.
      {0x1ffe0000, {0x1fff0000, 3}},
      {0x1fff0000, {0x20000000, 4}},
  };
  EXPECT_EQ(table, expected);
}

TEST_F(CrashImageTest, TheCoreHeaderIsOneOfTheRunningKernel) {
  const auto image = build_crash_image(parts_);
  ASSERT_TRUE(image) << image.error().message();
  const auto memory = loaded(*image);
  const auto params = load<boot_params>(at(memory, boot_params_of(*image), sizeof(boot_params)), 0).value();
  const auto core_header =
      std::stoull(as_text(at(memory, params.hdr.cmd_line_ptr, 64)).data() + std::strlen("elfcorehdr="), nullptr, 16);
  const MemoryReader reader(Bytes(memory).subspan(core_header - kCrash.begin.value));
  const auto core = vmcore::ElfCore::open(reader);
  ASSERT_TRUE(core) << core.error().message();
  EXPECT_EQ(core->note_segments(), 3U);
  ASSERT_EQ(core->loads().size(), 3U);
  EXPECT_EQ(core->loads()[0].virtual_address, Gva{0xffffffff9a600000});
  EXPECT_EQ(core->loads()[1].physical_address, Gpa{0x100000});
  EXPECT_EQ(core->loads()[1].file_bytes, kCrash.begin.value - 0x100000);
  EXPECT_EQ(core->loads()[2].physical_address, kCrash.end);
  EXPECT_EQ(core->loads()[2].virtual_address, Gva{0xffff9e0f94000000});
}

TEST_F(CrashImageTest, OfTwoRangesOfCrashMemoryTheUpperIsLoadedInto) {
  const PhysicalRange low{{0x8000000}, {0x9000000}};
  parts_.machine.crash_memory = {low, kCrash};
  const auto image = build_crash_image(parts_);
  ASSERT_TRUE(image) << image.error().message();
  const auto memory = loaded(*image);
  const auto params = load<boot_params>(at(memory, boot_params_of(*image), sizeof(boot_params)), 0).value();
  const auto* end = params.e820_table + params.e820_entries;
  EXPECT_TRUE(std::any_of(params.e820_table, end, [&](const boot_e820_entry& entry) {
    return entry.addr == low.begin.value && entry.size == low.size() && entry.type == 1;
  }));
}

TEST_F(CrashImageTest, ThereNeedBeNoInitrd) {
  parts_.initrd = {};
  const auto image = build_crash_image(parts_);
  ASSERT_TRUE(image) << image.error().message();
  const auto memory = loaded(*image);
  EXPECT_EQ(value(load<boot_params>(at(memory, boot_params_of(*image), sizeof(boot_params)), 0)->hdr.ramdisk_size), 0U);
}

TEST_F(CrashImageTest, SaysWhatMends) {
  auto good = parts_;
  parts_.machine.crash_memory.clear();
  EXPECT_THAT(error(), HasSubstr("no crash memory"));
  parts_ = good;
  parts_.machine.crash_memory = {{{0x13000000}, {0x13210000}}};
  EXPECT_THAT(error(), HasSubstr("raise machine.crashkernel"));
  parts_ = good;
  const std::vector<std::byte> large(kCrash.size() + 1);
  parts_.initrd = large;
  EXPECT_THAT(error(), HasSubstr("raise machine.crashkernel"));
  parts_ = good;
  parts_.vmlinux = as_bytes("this is no kernel");
  EXPECT_THAT(error(), HasSubstr("no ELF vmlinux"));
  parts_ = good;
  parts_.command_line = std::string(kCommandLineBytes, 'x');
  EXPECT_THAT(error(), HasSubstr("command line"));
  parts_ = good;
  parts_.running_boot_params = Bytes(running_).first(100);
  EXPECT_THAT(error(), HasSubstr("boot_params"));
  parts_ = good;
  for (std::uint64_t i = 0; i < 200; ++i) parts_.machine.reserved.push_back({{i << 32}, {(i << 32) + 4096}});
  EXPECT_THAT(error(), HasSubstr("ranges of memory"));
}

TEST(CaptureEntry, LeavesRoomForItsStack) { EXPECT_LT(capture_entry({1}, {2}).size(), kPageBytes - 512); }

}  // namespace
}  // namespace panicroom::kexec
