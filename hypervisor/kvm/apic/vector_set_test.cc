#include "hypervisor/kvm/apic/vector_set.h"

#include <gtest/gtest.h>

namespace panicroom::kvm {
namespace {

TEST(VectorSet, TellsTheHighestOfWhatItContains) {
  VectorSet set;
  EXPECT_EQ(set.highest(), std::nullopt);
  for (const std::uint8_t vector : {std::uint8_t{0}, std::uint8_t{31}, std::uint8_t{32}, std::uint8_t{255}}) {
    set.set(vector);
    EXPECT_TRUE(set.contains(vector));
    EXPECT_EQ(set.highest(), vector);
  }
  set.clear(255);
  EXPECT_FALSE(set.contains(255));
  EXPECT_EQ(set.highest(), 32);
  EXPECT_FALSE(set.contains(33));
}

TEST(VectorSet, HasARegisterForEach32Vectors) {
  VectorSet set;
  set.set(0x31);
  set.set(0xf8);
  EXPECT_EQ(set.word(1), 1U << 17);
  EXPECT_EQ(set.word(7), 1U << 24);
  EXPECT_EQ(set.word(0), 0U);
}

}  // namespace
}  // namespace panicroom::kvm
