// The IOAPIC, along the data sheet's 3.1 and 3.2.
#include "hypervisor/kvm/apic/io_apic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::kvm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

constexpr std::uint32_t kLevel = 1U << 15;
constexpr std::uint32_t kMasked = 1U << 16;

class IoApicTest : public testing::Test {
 protected:
  std::uint32_t read(std::uint8_t index) {
    io_apic_.write(io_apic::kSelect, index);
    return io_apic_.read(io_apic::kWindow);
  }
  std::optional<IoApic::Request> write(std::uint8_t index, std::uint32_t value) {
    io_apic_.write(io_apic::kSelect, index);
    return io_apic_.write(io_apic::kWindow, value);
  }
  std::optional<IoApic::Request> set_entry(std::uint8_t pin, std::uint32_t low, std::uint8_t destination = 0) {
    write(static_cast<std::uint8_t>(io_apic::kRedirection + 2 * pin + 1), std::uint32_t{destination} << 24);
    return write(static_cast<std::uint8_t>(io_apic::kRedirection + 2 * pin), low);
  }
  std::uint32_t low(std::uint8_t pin) { return read(static_cast<std::uint8_t>(io_apic::kRedirection + 2 * pin)); }

  static IoApic::Request request(std::uint32_t pin, std::uint8_t vector, TriggerMode trigger) {
    return {.pin = pin, .message = {.vector = vector, .trigger = trigger}, .destination = {.address = 2}};
  }

  IoApic io_apic_;
};

TEST_F(IoApicTest, IdentifiesItself) {
  EXPECT_EQ(read(io_apic::kVersion), 0x0017'0011U);
  EXPECT_EQ(read(io_apic::kId), 0U);
  write(io_apic::kId, 0xffff'ffff);
  EXPECT_EQ(read(io_apic::kId), 0x0f00'0000U);
  EXPECT_EQ(read(io_apic::kArbitration), 0x0f00'0000U);
  EXPECT_EQ(io_apic_.read(io_apic::kSelect), io_apic::kArbitration);
  for (std::uint8_t pin = 0; pin < 24; ++pin) EXPECT_EQ(low(pin), kMasked);
}

TEST_F(IoApicTest, WhatIsNotThereReadsAsZero) {
  for (const std::uint8_t index : {std::uint8_t{3}, std::uint8_t{0xf}, std::uint8_t{0x40}, std::uint8_t{0xff}}) {
    EXPECT_FALSE(write(index, 0xffff'ffff));
    EXPECT_EQ(read(index), 0U);
  }
  EXPECT_FALSE(io_apic_.write(0x40, 1));
  EXPECT_EQ(io_apic_.read(0x40), 0U);
  EXPECT_FALSE(io_apic_.set_pin(24, true));
  EXPECT_FALSE(io_apic_.remote_irr(24));
  EXPECT_EQ(io_apic_, [] {
    IoApic fresh;
    fresh.write(io_apic::kSelect, 0xff);
    return fresh;
  }());
}

TEST_F(IoApicTest, AnEntryKeepsWhatIsDefinedAndMayBeWritten) {
  write(0x12, 0xffff'ffff);
  write(0x13, 0xffff'ffff);
  EXPECT_EQ(read(0x12), 0x0001'afffU);
  EXPECT_EQ(read(0x13), 0xff00'0000U);
  EXPECT_EQ(low(0), kMasked);
}

TEST_F(IoApicTest, AnEdgeSendsOnce) {
  set_entry(4, 0x34, 2);
  EXPECT_THAT(io_apic_.set_pin(4, true), Optional(request(4, 0x34, TriggerMode::kEdge)));
  EXPECT_FALSE(io_apic_.set_pin(4, true));
  EXPECT_FALSE(io_apic_.set_pin(4, false));
  EXPECT_TRUE(io_apic_.set_pin(4, true));
  EXPECT_FALSE(io_apic_.remote_irr(4));
  EXPECT_THAT(io_apic_.end_of_interrupt(0x34), IsEmpty());
}

TEST_F(IoApicTest, AnEdgeAtAMaskedPinIsLost) {
  set_entry(4, kMasked | 0x34);
  EXPECT_FALSE(io_apic_.set_pin(4, true));
  EXPECT_FALSE(set_entry(4, 0x34));
  EXPECT_FALSE(io_apic_.set_pin(4, true));
}

TEST_F(IoApicTest, ALevelIsSentAgainOnlyAfterItsEoi) {
  set_entry(9, kLevel | 0x39, 2);
  const auto expected = request(9, 0x39, TriggerMode::kLevel);
  EXPECT_THAT(io_apic_.set_pin(9, true), Optional(expected));
  EXPECT_TRUE(io_apic_.remote_irr(9));
  EXPECT_EQ(low(9), kLevel | 0x39 | (1U << 14));
  EXPECT_FALSE(io_apic_.set_pin(9, true));
  EXPECT_THAT(io_apic_.end_of_interrupt(0x38), IsEmpty());
  EXPECT_THAT(io_apic_.end_of_interrupt(0x39), ElementsAre(expected));
  io_apic_.set_pin(9, false);
  EXPECT_TRUE(io_apic_.remote_irr(9));
  EXPECT_THAT(io_apic_.end_of_interrupt(0x39), IsEmpty());
  EXPECT_FALSE(io_apic_.remote_irr(9));
}

TEST_F(IoApicTest, ALevelAtAMaskedPinIsSentWhenItIsUnmasked) {
  set_entry(9, kMasked | kLevel | 0x39, 2);
  EXPECT_FALSE(io_apic_.set_pin(9, true));
  EXPECT_THAT(set_entry(9, kLevel | 0x39, 2), Optional(request(9, 0x39, TriggerMode::kLevel)));
  // Remote IRR cannot be written, and a masked pin does not send at its EOI.
  EXPECT_FALSE(set_entry(9, kMasked | kLevel | 0x39, 2));
  EXPECT_TRUE(io_apic_.remote_irr(9));
  EXPECT_THAT(io_apic_.end_of_interrupt(0x39), IsEmpty());
}

TEST_F(IoApicTest, PinsThatShareAVectorShareItsEoi) {
  set_entry(9, kLevel | 0x39, 2);
  set_entry(10, kLevel | 0x39, 2);
  io_apic_.set_pin(9, true);
  io_apic_.set_pin(10, true);
  EXPECT_THAT(io_apic_.end_of_interrupt(0x39),
              ElementsAre(request(9, 0x39, TriggerMode::kLevel), request(10, 0x39, TriggerMode::kLevel)));
}

TEST_F(IoApicTest, EdgeAndLevelAgainEndsAnInterrupt) {
  set_entry(9, kLevel | 0x39);
  io_apic_.set_pin(9, true);
  set_entry(9, kMasked | 0x39);
  EXPECT_FALSE(io_apic_.remote_irr(9));
  EXPECT_TRUE(set_entry(9, kLevel | 0x39));
}

TEST_F(IoApicTest, WhatNobodyTookWaitsForNoEoi) {
  set_entry(9, kLevel | 0x39);
  const auto sent = io_apic_.set_pin(9, true);
  ASSERT_TRUE(sent);
  io_apic_.refused(*sent);
  EXPECT_FALSE(io_apic_.remote_irr(9));
  EXPECT_TRUE(io_apic_.set_pin(9, true));
}

TEST_F(IoApicTest, DestinationsAreAsTheEntrySays) {
  set_entry(1, 0x0831, 0x06);
  EXPECT_EQ(io_apic_.set_pin(1, true)->destination, (Destination{.address = 6, .logical = true}));
  set_entry(2, 0x0031, 0xff);
  EXPECT_EQ(io_apic_.set_pin(2, true)->destination, (Destination{.address = Destination::kBroadcast}));
}

TEST_F(IoApicTest, DeliveryModesAreAsTheEntrySays) {
  std::uint8_t pin = 0;
  for (const auto mode : {DeliveryMode::kFixed, DeliveryMode::kLowestPriority, DeliveryMode::kSmi, DeliveryMode::kNmi,
                          DeliveryMode::kInit}) {
    set_entry(pin, 0x31 | (static_cast<std::uint32_t>(mode) << 8));
    EXPECT_EQ(io_apic_.set_pin(pin, true)->message.mode, mode);
    ++pin;
  }
  for (const std::uint32_t mode : {3U, 6U, 7U}) {
    set_entry(pin, 0x31 | (mode << 8));
    EXPECT_FALSE(io_apic_.set_pin(pin, true)) << mode;
    ++pin;
  }
}

TEST_F(IoApicTest, AnNmiIsAnEdgeWhateverTheEntrySays) {
  set_entry(1, kLevel | 0x0400);
  const auto sent = io_apic_.set_pin(1, true);
  ASSERT_TRUE(sent);
  EXPECT_EQ(sent->message.trigger, TriggerMode::kEdge);
  EXPECT_FALSE(io_apic_.remote_irr(1));
  EXPECT_FALSE(io_apic_.set_pin(1, true));
}

TEST_F(IoApicTest, ResetMasksAndLeavesTheWiresAsTheyAre) {
  set_entry(9, kLevel | 0x39);
  io_apic_.set_pin(9, true);
  io_apic_.reset();
  EXPECT_EQ(low(9), kMasked);
  EXPECT_TRUE(set_entry(9, kLevel | 0x39));
}

}  // namespace
}  // namespace panicroom::kvm
