#include "hypervisor/kvm/apic/interrupt_message.h"

#include <gtest/gtest.h>

namespace panicroom::kvm {
namespace {

// SDM Vol. 3, figure 11-12: what Linux stores to stop the other CPUs, and to start one.
TEST(DecodeIcr, TakesTheFieldsApart) {
  const auto nmi = decode_icr(0xc0400, 0, false);
  ASSERT_TRUE(nmi);
  EXPECT_EQ(nmi->mode, DeliveryMode::kNmi);
  EXPECT_EQ(nmi->shorthand, Shorthand::kAllExcludingSelf);
  EXPECT_FALSE(nmi->assert_level);

  const auto fixed = decode_icr(0x48f8, 0x0600'0000, false);
  ASSERT_TRUE(fixed);
  EXPECT_EQ(fixed->mode, DeliveryMode::kFixed);
  EXPECT_EQ(fixed->vector, 0xf8);
  EXPECT_EQ(fixed->shorthand, Shorthand::kNone);
  EXPECT_TRUE(fixed->assert_level);
  EXPECT_FALSE(fixed->level_triggered);
  EXPECT_EQ(fixed->destination, (Destination{.address = 6, .logical = true}));
}

TEST(DecodeIcr, KnowsEveryDeliveryModeAndThoseThatAreReserved) {
  for (const auto mode : {DeliveryMode::kFixed, DeliveryMode::kLowestPriority, DeliveryMode::kSmi, DeliveryMode::kNmi,
                          DeliveryMode::kInit, DeliveryMode::kStartup}) {
    const auto command = decode_icr(0x4030 | (static_cast<std::uint32_t>(mode) << 8), 0, false);
    ASSERT_TRUE(command);
    EXPECT_EQ(command->mode, mode);
    EXPECT_EQ(command->vector, 0x30);
  }
  EXPECT_FALSE(decode_icr(0x4330, 0, false));
  EXPECT_FALSE(decode_icr(0x4730, 0, false));
}

TEST(DecodeIcr, KnowsEveryShorthand) {
  constexpr Shorthand kAll[] = {Shorthand::kNone, Shorthand::kSelf, Shorthand::kAllIncludingSelf,
                                Shorthand::kAllExcludingSelf};
  for (std::uint32_t bits = 0; bits < 4; ++bits) {
    const auto command = decode_icr(0x4030 | (bits << 18), 0, false);
    ASSERT_TRUE(command);
    EXPECT_EQ(command->shorthand, kAll[bits]);
  }
}

TEST(DecodeIcr, TheX2apicsDestinationHas32Bits) {
  EXPECT_EQ(decode_icr(0x4030, 0x0001'00ff, true)->destination, (Destination{.address = 0x0001'00ff}));
  EXPECT_EQ(decode_icr(0x4030, 0xff, true)->destination, (Destination{.address = 0xff}));
  EXPECT_EQ(decode_icr(0x4030, 0xff00'0000, false)->destination, (Destination{.address = Destination::kBroadcast}));
}

TEST(DecodeIcr, OnlyALevelTriggeredInitIsDeasserted) {
  EXPECT_TRUE(decode_icr(0x8500, 0, false)->is_init_deassert());
  EXPECT_FALSE(decode_icr(0xc500, 0, false)->is_init_deassert());
  EXPECT_FALSE(decode_icr(0x0500, 0, false)->is_init_deassert());
  EXPECT_FALSE(decode_icr(0x8030, 0, false)->is_init_deassert());
}

}  // namespace
}  // namespace panicroom::kvm
