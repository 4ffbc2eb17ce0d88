#include "harness/director/capture_image_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/bytes.h"

namespace panicroom::harness {
namespace {

using namespace std::string_view_literals;

// SHA-256 of "abc" (FIPS 180-4's first example) and of nothing.
constexpr std::string_view kOfAbc =
    "\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61"
    "\xf2"
    "\x00\x15\xad"sv;
constexpr std::string_view kOfNothing =
    "\xe3\xb0\xc4\x42\x98\xfc\x1c\x14\x9a\xfb\xf4\xc8\x99\x6f\xb9\x24\x27\xae\x41\xe4\x64\x9b\x93\x4c\xa4\x95\x99\x1b"
    "\x78"
    "\x52\xb8\x55";

constexpr kernels::Purgatory kPurgatory{.size = 0x200, .entry = 0x10, .regions = 0x80, .digest = 0x1c0};
constexpr std::uint64_t kBegin = 0x1000;
constexpr Gpa kEntry{kBegin + kPurgatory.entry};
constexpr std::uint64_t kImage = 0x2000;

// A machine's memory, restored before each trial; "ab" and "c" lie apart, and the purgatory knows of both.
class CaptureImageCheckTest : public testing::Test {
 protected:
  CaptureImageCheckTest() { restore(); }

  void restore() {
    memory_.assign(0x4000, std::byte{0x5a});
    std::fill_n(memory_.begin() + kBegin + kPurgatory.regions, 256, std::byte{});
    put_region(0, kImage, 2);
    put_region(1, kImage + 0x100, 1);
    put(kImage, "ab");
    put(kImage + 0x100, "c");
    put(kBegin + kPurgatory.digest, kOfAbc);
  }
  void put(std::uint64_t at, std::string_view bytes) {
    std::ranges::copy(as_bytes(bytes), memory_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void put_region(std::uint64_t n, std::uint64_t start, std::uint64_t length) {
    std::memcpy(&memory_[kBegin + kPurgatory.regions + 16 * n], &start, 8);
    std::memcpy(&memory_[kBegin + kPurgatory.regions + 16 * n + 8], &length, 8);
  }

  std::optional<std::uint64_t> jump(Gpa entry = kEntry) {
    const auto spared =
        check_.at_jump(entry, {.read = [this](Gpa at, std::span<std::byte> into) -> Result<> {
                                 const auto bytes = slice(memory_, at.value, into.size());
                                 if (!bytes) return invalid_input("not memory");
                                 std::ranges::copy(*bytes, into.begin());
                                 return {};
                               },
                               .write = [this](Gpa at, std::span<const std::byte> bytes) -> Result<> {
                                 std::ranges::copy(bytes, memory_.begin() + static_cast<std::ptrdiff_t>(at.value));
                                 return {};
                               }});
    EXPECT_TRUE(spared) << spared.error().message();
    return spared ? *spared : std::nullopt;
  }
  // A first trial, in which the guest's purgatory lets the image pass.
  void pass_once() {
    EXPECT_FALSE(jump());
    check_.passed();
    restore();
  }
  // The guest has to find out for itself.
  void expect_untouched() {
    const auto before = memory_;
    EXPECT_FALSE(jump());
    EXPECT_EQ(memory_, before);
  }

  std::vector<std::byte> memory_;
  CaptureImageCheck check_{kPurgatory};
};

TEST_F(CaptureImageCheckTest, TheFirstTrialsPurgatoryDoesItsWork) { expect_untouched(); }

TEST_F(CaptureImageCheckTest, ALaterTrialIsSparedIt) {
  pass_once();
  EXPECT_EQ(jump(), 3U);
  const Bytes purgatory = Bytes(memory_).subspan(kBegin, kPurgatory.size);
  EXPECT_EQ(as_text(purgatory.subspan(kPurgatory.digest, 32)), kOfNothing);
  EXPECT_TRUE(
      std::ranges::all_of(purgatory.subspan(kPurgatory.regions, 256), [](std::byte b) { return b == std::byte{}; }));
  restore();
  EXPECT_EQ(jump(), 3U) << "and so is the one after it";
}

TEST_F(CaptureImageCheckTest, AnImageThatNoPurgatoryHasLetPassIsLeftToTheGuest) {
  EXPECT_FALSE(jump());
  restore();  // The capture kernel never ran.
  expect_untouched();
}

TEST_F(CaptureImageCheckTest, AnImageThatWasChangedIsLeftToTheGuest) {
  pass_once();
  put(kImage + 0x100, "d");
  expect_untouched();
  check_.passed();  // Even if the capture kernel ran all the same: the digest did not let it.
  restore();
  EXPECT_EQ(jump(), 3U);
}

TEST_F(CaptureImageCheckTest, APurgatoryThatWasChangedIsLeftToTheGuest) {
  pass_once();
  for (const auto offset :
       {std::uint64_t{0}, kPurgatory.entry, kPurgatory.regions, kPurgatory.digest, kPurgatory.size - 1}) {
    restore();
    memory_[kBegin + offset] ^= std::byte{1};
    expect_untouched();
  }
}

TEST_F(CaptureImageCheckTest, WhatIsNoTableIsLeftToTheGuest) {
  put_region(0, 0x3fff, 2);  // Beyond the end of memory.
  EXPECT_FALSE(jump());
  check_.passed();
  expect_untouched();
  put_region(0, kImage, ~std::uint64_t{0});
  EXPECT_FALSE(jump());
  check_.passed();
  expect_untouched();
}

TEST_F(CaptureImageCheckTest, AnEntryThatIsNowhereIsLeftToTheGuest) {
  pass_once();
  EXPECT_FALSE(jump(Gpa{0x8}));
  EXPECT_FALSE(jump(Gpa{0x100000}));
  check_ = CaptureImageCheck(std::nullopt);
  EXPECT_FALSE(jump());
}

}  // namespace
}  // namespace panicroom::harness
