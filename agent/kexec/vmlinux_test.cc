#include "agent/kexec/vmlinux.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "agent/kexec/synthetic_vmlinux.h"

namespace panicroom::kexec {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kText = 0x1000000;
constexpr std::uint64_t kData = 0x1200000;
const std::vector<SyntheticPart> kParts = {{kText, 0x5000, 0x5000}, {kData, 0x1800, 0x4400}};

std::string error_of(const std::vector<std::byte>& file) {
  const auto kernel = read_vmlinux(file);
  return kernel ? "" : kernel.error().message();
}

TEST(Vmlinux, IsItsPartsInWholePages) {
  const auto file = synthetic_vmlinux(kParts, kText + 0x70);
  const auto kernel = read_vmlinux(file);
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->entry, Gpa{kText + 0x70});
  ASSERT_EQ(kernel->parts.size(), 2U);
  EXPECT_EQ(kernel->parts[0].content.size(), 0x5000U);
  EXPECT_EQ(kernel->parts[1].content.size(), 0x1800U);
  EXPECT_EQ(kernel->parts[1].content.front(), std::byte{2});
  EXPECT_EQ(kernel->parts[1].bytes, 0x5000U);
  EXPECT_EQ(kernel->begin(), Gpa{kText});
  EXPECT_EQ(kernel->end(), Gpa{kData + 0x5000});
}

TEST(Vmlinux, PartsAreInOrder) {
  const auto kernel = read_vmlinux(synthetic_vmlinux({kParts[1], kParts[0]}, kText));
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->begin(), Gpa{kText});
}

TEST(Vmlinux, RefusesWhatCannotBeLoaded) {
  EXPECT_THAT(error_of({}), HasSubstr("no ELF vmlinux"));
  auto arm = synthetic_vmlinux(kParts, kText);
  arm[offsetof(Elf64_Ehdr, e_machine)] = std::byte{183};
  EXPECT_THAT(error_of(arm), HasSubstr("no ELF vmlinux"));
  auto cut = synthetic_vmlinux(kParts, kText);
  cut.pop_back();
  EXPECT_THAT(error_of(cut), HasSubstr("PT_LOAD 1 is not all there"));
  cut.resize(sizeof(Elf64_Ehdr) + 8);
  EXPECT_THAT(error_of(cut), HasSubstr("program headers"));
  EXPECT_THAT(error_of(synthetic_vmlinux({}, kText)), HasSubstr("no PT_LOAD"));
  EXPECT_THAT(error_of(synthetic_vmlinux(std::vector<SyntheticPart>(20, kParts[0]), kText)), HasSubstr("more than"));
  EXPECT_THAT(error_of(synthetic_vmlinux({{kText, 0x10, 0x8}}, kText)), HasSubstr("not all there"));
  EXPECT_THAT(error_of(synthetic_vmlinux({{kText + 1, 0x10, 0x10}}, kText)), HasSubstr("physical address"));
  EXPECT_THAT(error_of(synthetic_vmlinux({{std::uint64_t{1} << 40, 0x10, 0x10}}, kText)),
              HasSubstr("physical address"));
  EXPECT_THAT(error_of(synthetic_vmlinux({{kText, 0x10, ~std::uint64_t{0}}}, kText)), HasSubstr("physical address"));
  EXPECT_THAT(error_of(synthetic_vmlinux({kParts[0], {kText + 0x4000, 0x10, 0x10}}, kText)), HasSubstr("overlap"));
  EXPECT_THAT(error_of(synthetic_vmlinux({kParts[0], {0x70000000, 0x10, 0x10}}, kText)), HasSubstr("1 GiB"));
  EXPECT_THAT(error_of(synthetic_vmlinux(kParts, kData + 0x1800)), HasSubstr("lies in no PT_LOAD"));
}

}  // namespace
}  // namespace panicroom::kexec
