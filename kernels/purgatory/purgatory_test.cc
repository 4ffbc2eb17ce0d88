#include "kernels/purgatory/purgatory.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/purgatory/synthetic_purgatory.h"

namespace panicroom::kernels {
namespace {

TEST(Purgatory, SectionsLieOneBehindTheOtherAndBssBehindAll) {
  const auto purgatory = read_purgatory(build_purgatory({.text_size = 0x123, .entry = 0x20, .data_alignment = 32}));
  ASSERT_TRUE(purgatory) << purgatory.error().message();
  EXPECT_EQ(purgatory->entry, 0x20U);
  EXPECT_EQ(purgatory->regions, 0x140U);  // 0x123, aligned to 32.
  EXPECT_EQ(purgatory->digest, 0x240U);
  EXPECT_EQ(purgatory->size, 0x260U);
}

TEST(Purgatory, OneWithoutACheckIsNotSupported) {
  const auto purgatory = read_purgatory(build_purgatory({.digest_name = "something_else"}));
  ASSERT_FALSE(purgatory);
  EXPECT_EQ(purgatory.error().kind(), ErrorKind::kUnsupported);
}

TEST(Purgatory, WhatIsNotAPurgatorySaysSo) {
  EXPECT_FALSE(read_purgatory({}));
  EXPECT_FALSE(
      read_purgatory(as_bytes("\x7f"
                              "ELF and then nothing")));
  EXPECT_FALSE(read_purgatory(build_purgatory({.machine = 183})));               // EM_AARCH64
  EXPECT_FALSE(read_purgatory(build_purgatory({.entry = 0x123})));               // Behind .text.
  EXPECT_FALSE(read_purgatory(build_purgatory({.text_size = (1U << 20) + 1})));  // Larger than any.
  EXPECT_FALSE(read_purgatory(build_purgatory({.data_alignment = 24})));         // No power of two.
}

TEST(Purgatory, AFileThatIsCutIsRefusedWhereverItIsCut) {
  const auto whole = build_purgatory();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(read_purgatory(Bytes(whole).first(length))) << length;
  }
}

TEST(Purgatory, IsFoundInARealKernel) {
  const char* path = std::getenv("PANICROOM_TEST_KERNEL");
  if (path == nullptr) GTEST_SKIP() << "PANICROOM_TEST_KERNEL names no kernel to test with";
  const auto kernel = KernelImage::load(path);
  ASSERT_TRUE(kernel) << kernel.error().message();
  const auto purgatory = find_purgatory(*kernel);
  ASSERT_TRUE(purgatory) << purgatory.error().message();
  EXPECT_LT(purgatory->entry, purgatory->size);
  EXPECT_LE(purgatory->regions + kPurgatoryRegions * kPurgatoryRegionBytes, purgatory->size);
  EXPECT_LE(purgatory->digest + kPurgatoryDigestBytes, purgatory->size);
}

}  // namespace
}  // namespace panicroom::kernels
