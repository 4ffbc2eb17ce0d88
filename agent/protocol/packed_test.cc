#include "agent/protocol/packed.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace panicroom::agent {
namespace {

Result<std::vector<std::byte>> unpacked(Bytes packed) {
  std::vector<std::byte> bytes(TRY(unpacked_size(packed)));
  TRY(unpack(packed, bytes));
  return bytes;
}

TEST(Packed, RoundTrip) {
  for (const std::size_t size : {0U, 1U, 100'000U}) {
    const std::string text(size, 'x');
    const auto packed = pack(as_bytes(text));
    ASSERT_TRUE(packed) << packed.error().message();
    const auto back = unpacked(*packed);
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_EQ(as_text(*back), text);
  }
}

TEST(Packed, IsSmallerAndTheSameEveryTime) {
  std::string text;
  for (int i = 0; i < 10'000; ++i) text += "mov %rax, " + std::to_string(i);
  const auto packed = pack(as_bytes(text));
  ASSERT_TRUE(packed) << packed.error().message();
  EXPECT_LT(packed->size(), text.size() / 2);
  EXPECT_EQ(*packed, *pack(as_bytes(text)));
}

TEST(Packed, WhatIsDamagedIsRefused) {
  const std::string text = std::string(1000, 'x') + "y";
  const auto good = pack(as_bytes(text));
  ASSERT_TRUE(good);
  EXPECT_FALSE(unpacked({}));
  EXPECT_FALSE(unpacked(as_bytes("this is no gzip file")));
  EXPECT_FALSE(unpacked(Bytes(*good).first(good->size() - 1)));
  auto longer = *good;
  longer.insert(longer.end() - 4, std::byte{0});
  EXPECT_FALSE(unpacked(longer));
  for (std::size_t offset = 10; offset < good->size(); ++offset) {
    auto bad = *good;
    bad[offset] ^= std::byte{0xff};
    // Behind the last bit that means something there may be some that mean nothing.
    const auto back = unpacked(bad);
    EXPECT_TRUE(!back || as_text(*back) == text) << offset;
    if (offset + 8 >= good->size()) {
      EXPECT_FALSE(back) << "checksum and size, " << offset;
    }
  }
}

TEST(Packed, MemoryOfAnotherSizeIsNotFilled) {
  const auto packed = *pack(as_bytes("twelve bytes"));
  std::vector<std::byte> memory(13);
  EXPECT_FALSE(unpack(packed, memory));
  EXPECT_FALSE(unpack(packed, std::span(memory).first(11)));
  EXPECT_TRUE(unpack(packed, std::span(memory).first(12)));
}

TEST(Packed, ASizeThatCannotBeIsNotTried) {
  auto huge = *pack(as_bytes("x"));
  const std::uint32_t size = kMaxUnpackedBytes;
  std::memcpy(huge.data() + huge.size() - sizeof(size), &size, sizeof(size));
  EXPECT_FALSE(unpacked(huge));
}

}  // namespace
}  // namespace panicroom::agent
