#include "kernels/image/elf_image.h"

#include <elf.h>
#include <gmock/gmock.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/image/synthetic_kernel.h"

namespace panicroom::kernels {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::byte> sample() {
  constexpr std::uint64_t kText = SHF_ALLOC | SHF_EXECINSTR;
  return testing::build_elf({{".text", 0x1000, kText, std::vector<std::byte>(0x100, std::byte{0x90})},
                             {".data", 0x2000, SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR, std::vector<std::byte>(0x10)},
                             {".init.text", 0x3000, kText, std::vector<std::byte>(0x20, std::byte{0xcc})},
                             {".BTF", 0x4000, SHF_ALLOC, {std::byte{0x9f}, std::byte{0xeb}}}});
}

template <typename T>
void patch(std::vector<std::byte>& file, std::size_t offset, T value) {
  ASSERT_LE(offset + sizeof(value), file.size());
  std::memcpy(file.data() + offset, &value, sizeof(value));
}

TEST(ElfImage, ReadsSegmentsSectionsAndText) {
  const auto elf = ElfImage::parse(sample());
  ASSERT_TRUE(elf) << elf.error().message();
  EXPECT_EQ(elf->segments().size(), 4U);
  ASSERT_NE(elf->section(".init.text"), nullptr);
  EXPECT_EQ(elf->section(".init.text")->range, (LinkRange{{0x3000}, {0x3020}}));
  EXPECT_EQ(elf->section(".none"), nullptr);
  EXPECT_THAT(elf->text_ranges(), ElementsAre(LinkRange{{0x1000}, {0x1100}}, LinkRange{{0x3000}, {0x3020}}));
  ASSERT_TRUE(elf->btf());
  EXPECT_EQ(elf->btf()->size(), 2U);
  EXPECT_EQ(elf->entry_physical_address(), 0x1000000U);
}

TEST(ElfImage, ReadsBytesOnlyWhereAllOfThemAre) {
  const auto elf = ElfImage::parse(sample());
  ASSERT_TRUE(elf);
  ASSERT_TRUE(elf->bytes_at({0x3000}, 0x20));
  EXPECT_EQ(elf->bytes_at({0x3000}, 0x20)->front(), std::byte{0xcc});
  EXPECT_FALSE(elf->bytes_at({0x3001}, 0x20));
  EXPECT_FALSE(elf->bytes_at({0x2fff}, 1));
  EXPECT_FALSE(elf->bytes_at({0x3020}, 1));
  EXPECT_FALSE(elf->bytes_at({~std::uint64_t{0}}, 2));
  EXPECT_FALSE(elf->bytes_at({0x3000}, ~std::uint64_t{0}));
  EXPECT_EQ(elf->bytes_from({0x301e}).size(), 2U);
}

TEST(ElfImage, FindsTextByAddress) {
  const auto elf = ElfImage::parse(sample());
  ASSERT_TRUE(elf);
  EXPECT_EQ(elf->text_range_at({0xfff}), nullptr);
  ASSERT_NE(elf->text_range_at({0x1000}), nullptr);
  EXPECT_NE(elf->text_range_at({0x10ff}), nullptr);
  EXPECT_EQ(elf->text_range_at({0x1100}), nullptr);
  EXPECT_EQ(elf->text_range_at({0x2000}), nullptr) << ".data carries the flag for code, but is written to";
}

TEST(ElfImage, GoesBySegmentsWithoutSectionHeaders) {
  const auto elf = ElfImage::parse(
      testing::build_elf({{".text", 0x1000, SHF_ALLOC | SHF_EXECINSTR, std::vector<std::byte>(8)}}, false));
  ASSERT_TRUE(elf) << elf.error().message();
  EXPECT_TRUE(elf->sections().empty());
  EXPECT_THAT(elf->text_ranges(), ElementsAre(LinkRange{{0x1000}, {0x1008}}));
}

TEST(ElfImage, KeepsItsViewsWhenMoved) {
  auto elf = ElfImage::parse(sample());
  ASSERT_TRUE(elf);
  const std::byte* before = elf->bytes_at({0x1000}, 1)->data();
  const ElfImage moved = *std::move(elf);
  EXPECT_EQ(moved.bytes_at({0x1000}, 1)->data(), before);
}

TEST(ElfImage, NamesAnotherArchitecture) {
  auto file = sample();
  patch<std::uint16_t>(file, offsetof(Elf64_Ehdr, e_machine), EM_AARCH64);
  const auto elf = ElfImage::parse(file);
  ASSERT_FALSE(elf);
  EXPECT_EQ(elf.error().kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(elf.error().message(), "unsupported architecture: ELF machine aarch64");
}

TEST(ElfImage, NamesTheFieldThatIsWrong) {
  const auto message = [](std::size_t offset, auto value) {
    auto file = sample();
    std::memcpy(file.data() + offset, &value, sizeof(value));
    const auto elf = ElfImage::parse(std::move(file));
    return elf ? std::string("no error") : elf.error().message();
  };
  constexpr std::size_t kFirstSegment = sizeof(Elf64_Ehdr);
  EXPECT_THAT(message(offsetof(Elf64_Ehdr, e_type), std::uint16_t{ET_REL}), HasSubstr("kernel module"));
  EXPECT_THAT(message(EI_CLASS, std::uint8_t{ELFCLASS32}), HasSubstr("32-bit"));
  EXPECT_THAT(message(EI_DATA, std::uint8_t{ELFDATA2MSB}), HasSubstr("big-endian"));
  EXPECT_THAT(message(offsetof(Elf64_Ehdr, e_phentsize), std::uint16_t{55}), HasSubstr("e_phentsize is 55"));
  EXPECT_THAT(message(offsetof(Elf64_Ehdr, e_shentsize), std::uint16_t{1}), HasSubstr("e_shentsize is 1"));
  EXPECT_THAT(message(offsetof(Elf64_Ehdr, e_phoff), ~std::uint64_t{0}), HasSubstr("e_phoff"));
  EXPECT_THAT(message(offsetof(Elf64_Ehdr, e_shoff), ~std::uint64_t{7}), HasSubstr("e_shoff"));
  EXPECT_THAT(message(offsetof(Elf64_Ehdr, e_phnum), std::uint16_t{0}), HasSubstr("no PT_LOAD"));
  EXPECT_THAT(message(kFirstSegment + offsetof(Elf64_Phdr, p_offset), std::uint64_t{1} << 40), HasSubstr("segment 0"));
  EXPECT_THAT(message(kFirstSegment + offsetof(Elf64_Phdr, p_memsz), std::uint64_t{1}), HasSubstr("impossible sizes"));
  EXPECT_THAT(message(kFirstSegment + offsetof(Elf64_Phdr, p_vaddr), ~std::uint64_t{0}), HasSubstr("impossible sizes"));
}

TEST(ElfImage, NeverReadsBehindATruncatedFile) {
  const auto file = sample();
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(ElfImage::parse({file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)})) << size;
  }
}

}  // namespace
}  // namespace panicroom::kernels
