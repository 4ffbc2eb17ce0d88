#include "harness/report/kernel_match.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

using testing::ElementsAre;
using Match = std::optional<std::size_t>;
constexpr auto kNone = std::nullopt;

KernelIdentity kernel(const std::string& release, const std::string& reference = "") {
  return {.release = release, .reference = reference, .capture = "", .engine = "qemu (tcg)"};
}

TEST(KernelMatch, ReadsFlavourAndSeries) {
  EXPECT_EQ(flavour_of("6.1.0-56-cloud-amd64"), "cloud-amd64");
  EXPECT_EQ(flavour_of("6.12.107+deb13-rt-amd64"), "rt-amd64");
  EXPECT_EQ(flavour_of("7.3-rc4-amd64"), "amd64");
  EXPECT_EQ(flavour_of("7.3~rc4-amd64"), "amd64");
  EXPECT_EQ(flavour_of("debian:sid/cloud-amd64"), "cloud-amd64");
  EXPECT_EQ(flavour_of("debian:6.1.0-56-amd64"), "amd64");
  EXPECT_EQ(flavour_of("6.6.12-generic"), "generic");
  for (const char* text : {"", "6.1", "6.1-", "6.1-1", "/boot/vmlinuz-x", "-amd64"}) EXPECT_EQ(flavour_of(text), "");
  EXPECT_EQ(series_of("6.12.107+deb13-rt-amd64"), "6.12");
  EXPECT_EQ(series_of("7.3~rc4-amd64"), "7.3");
  for (const char* text : {"", "6", "6.", "6.x", ".1", "debian:sid/amd64"}) EXPECT_EQ(series_of(text), "");
}

TEST(KernelMatch, TheExactReleaseComesFirst) {
  EXPECT_THAT(match_kernels({kernel("6.1.0-55-amd64"), kernel("6.1.0-56-amd64")},
                            {kernel("6.1.0-56-amd64"), kernel("6.1.0-57-amd64")}),
              ElementsAre(Match(1), Match(0)));
}

TEST(KernelMatch, AnUpdateIsFoundByItsSuiteThenItsSeriesThenItsFlavour) {
  EXPECT_THAT(match_kernels({kernel("7.1-amd64", "debian:sid/amd64"), kernel("7.1+deb13-amd64", "/boot/x")},
                            {kernel("7.2-amd64", "debian:sid/amd64")}),
              ElementsAre(Match(0)));
  EXPECT_THAT(match_kernels({kernel("5.10.0-1-amd64"), kernel("6.1.0-1-amd64"), kernel("6.1.0-1-rt-amd64")},
                            {kernel("6.1.0-2-amd64"), kernel("5.10.0-2-amd64"), kernel("6.1.0-2-rt-amd64")}),
              ElementsAre(Match(1), Match(0), Match(2)));
  EXPECT_THAT(match_kernels({kernel("7.1.3-amd64"), kernel("7.1.3-rt-amd64")}, {kernel("7.2.0-amd64")}),
              ElementsAre(Match(0)));
}

TEST(KernelMatch, AKernelThatCouldNotBeHadIsStillTheKernelOfItsSuite) {
  EXPECT_THAT(match_kernels({kernel("7.1.3-amd64", "debian:sid/amd64"), kernel("6.1-amd64", "debian:bookworm/amd64")},
                            {kernel("debian:sid/amd64", "debian:sid/amd64")}),
              ElementsAre(Match(0)));
}

TEST(KernelMatch, WhatIsAmbiguousIsNotMatched) {
  EXPECT_THAT(match_kernels({kernel("6.1.1-amd64"), kernel("6.1.2-amd64")}, {kernel("6.1.3-amd64")}),
              ElementsAre(kNone));
  EXPECT_THAT(match_kernels({kernel("6.1.1-amd64")}, {kernel("6.1.2-amd64"), kernel("6.1.3-amd64")}),
              ElementsAre(kNone, kNone));
  // Two files are not one suite.
  EXPECT_THAT(match_kernels({kernel("custom", "a/bzImage")}, {kernel("other", "a/bzImage")}), ElementsAre(kNone));
}

TEST(KernelMatch, EngineAndOwnCaptureHaveToBeTheSame) {
  auto other_engine = kernel("6.1-amd64");
  other_engine.engine = "kvm";
  auto other_capture = kernel("6.1-amd64");
  other_capture.capture = "6.12-amd64";
  auto newer_capture = other_capture;
  newer_capture.capture = "6.13-amd64";
  EXPECT_THAT(match_kernels({kernel("6.1-amd64")}, {other_engine, other_capture}), ElementsAre(kNone, kNone));
  EXPECT_THAT(match_kernels({kernel("6.1-amd64"), other_capture}, {newer_capture}), ElementsAre(Match(1)));
}

TEST(KernelMatch, EachIsUsedOnce) {
  const auto matches = match_kernels({kernel("6.1-amd64")}, {kernel("6.1-amd64"), kernel("6.2-amd64")});
  EXPECT_THAT(matches, ElementsAre(Match(0), kNone));
  EXPECT_THAT(match_kernels({}, {}), ElementsAre());
}

}  // namespace
}  // namespace panicroom::harness
