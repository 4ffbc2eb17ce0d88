#include "harness/session/capture_vmlinux.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "agent/kexec/vmlinux.h"
#include "kernels/image/synthetic_kernel.h"

namespace panicroom::harness {
namespace {

using kernels::ElfImage;

TEST(CaptureVmlinux, HasTheLoadedPartsAndNothingElse) {
  const auto kernel = ElfImage::parse(kernels::testing::build_kernel({}));
  ASSERT_TRUE(kernel) << kernel.error().message();
  const auto file = capture_vmlinux(*kernel);
  EXPECT_LT(file.size(), kernel->file().size());
  const auto again = ElfImage::parse(file);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->entry_physical_address(), kernel->entry_physical_address());
  EXPECT_TRUE(again->sections().empty());
  ASSERT_EQ(again->segments().size(), kernel->segments().size());
  for (std::size_t i = 0; i < kernel->segments().size(); ++i) {
    const auto& left = kernel->segments()[i];
    const auto& right = again->segments()[i];
    EXPECT_EQ(left.range, right.range) << i;
    EXPECT_EQ(left.physical_address, right.physical_address) << i;
    EXPECT_EQ(left.flags, right.flags) << i;
    EXPECT_TRUE(std::ranges::equal(left.content, right.content)) << i;
  }
}

TEST(CaptureVmlinux, IsWhatTheAgentLoads) {
  const auto kernel =
      ElfImage::parse(kernels::testing::build_elf({{".head.text", 0xffffffff81000000, 6, {4096, std::byte{0x90}}},
                                                   {".data", 0xffffffff81002000, 3, {100, std::byte{1}}}}));
  ASSERT_TRUE(kernel) << kernel.error().message();
  const auto file = capture_vmlinux(*kernel);
  const auto loaded = kexec::read_vmlinux(file);
  ASSERT_TRUE(loaded) << loaded.error().message();
  ASSERT_EQ(loaded->parts.size(), 2U);
  EXPECT_EQ(loaded->parts[0].content.size(), 4096U);
  EXPECT_EQ(loaded->parts[1].content.size(), 100U);
}

}  // namespace
}  // namespace panicroom::harness
