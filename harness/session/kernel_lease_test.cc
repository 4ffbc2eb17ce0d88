#include "harness/session/kernel_lease.h"

#include <gtest/gtest.h>

#include "kernels/image/synthetic_kernel.h"

namespace panicroom::harness {
namespace {

using kernels::KernelImage;

std::shared_ptr<const KernelImage> image() {
  auto loaded = KernelImage::from_file_content("vmlinux", kernels::testing::build_kernel({}));
  EXPECT_TRUE(loaded) << loaded.error().message();
  return std::make_shared<const KernelImage>(*std::move(loaded));
}

TEST(KernelLease, TheImageIsLoadedOnceAndDroppedAfterTheLastUser) {
  int loads = 0;
  int announced = 0;
  const KernelSource source{"a", [&](const StageSink& /*on_stage*/) {
                              ++loads;
                              return Result<std::shared_ptr<const KernelImage>>(image());
                            }};
  KernelLease lease(source, 2);
  EXPECT_EQ(loads, 0);
  std::weak_ptr<const KernelImage> seen;
  for (int user = 0; user < 2; ++user) {
    const auto got = lease.get({}, [&](const KernelImage& /*loaded*/) { ++announced; });
    ASSERT_TRUE(got);
    if (user == 0) seen = *got;
    EXPECT_EQ(seen.lock(), *got);
    if (user == 0) lease.done();
  }
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(announced, 1);
  EXPECT_FALSE(seen.expired());
  lease.done();
  EXPECT_TRUE(seen.expired());
}

TEST(KernelLease, WhatCannotBeHadIsNotTriedAgain) {
  int loads = 0;
  const KernelSource source{"a", [&](const StageSink& /*on_stage*/) {
                              ++loads;
                              return Result<std::shared_ptr<const KernelImage>>(host_error("no network"));
                            }};
  KernelLease lease(source, 2);
  for (int user = 0; user < 2; ++user) {
    const auto got = lease.get({}, [](const KernelImage& /*loaded*/) { FAIL(); });
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().message(), "no network");
  }
  EXPECT_EQ(loads, 1);
}

}  // namespace
}  // namespace panicroom::harness
