#include "hypervisor/kvm/devices/rtc.h"

#include <gtest/gtest.h>

#include <limits>

namespace panicroom::kvm {
namespace {

using namespace rtc;  // NOLINT(google-build-using-namespace): the registers of what is tested.

// Thursday, 2024-02-29 23:58:07 UTC: `date -u -d '2024-02-29 23:58:07' +%s`.
constexpr std::int64_t kLeapDay = 1709251087;
constexpr std::int64_t kHour = 3600;

std::uint8_t read(Rtc& clock, std::uint8_t index, std::int64_t now = kLeapDay) {
  clock.select(index);
  return clock.read(now);
}

void write(Rtc& clock, std::uint8_t index, std::uint8_t value) {
  clock.select(index);
  clock.write(value);
}

TEST(RtcTest, ShowsTheTimeItIsHandedInBcd) {
  Rtc clock;
  EXPECT_EQ(read(clock, kSeconds), 0x07);
  EXPECT_EQ(read(clock, kMinutes), 0x58);
  EXPECT_EQ(read(clock, kHours), 0x23);
  EXPECT_EQ(read(clock, kDayOfWeek), 5);
  EXPECT_EQ(read(clock, kDayOfMonth), 0x29);
  EXPECT_EQ(read(clock, kMonth), 0x02);
  EXPECT_EQ(read(clock, kYear), 0x24);
  EXPECT_EQ(read(clock, kCentury), 0x20);
  EXPECT_EQ(read(clock, kHours, kLeapDay + 120), 0x00);
  EXPECT_EQ(read(clock, kDayOfMonth, kLeapDay + 120), 0x01);
  EXPECT_EQ(read(clock, kMonth, kLeapDay + 120), 0x03);
}

TEST(RtcTest, ShowsItAsRegisterBWantsIt) {
  Rtc clock;
  EXPECT_EQ(read(clock, kRegisterB), kHours24);
  write(clock, kRegisterB, kHours24 | kBinary);
  EXPECT_EQ(read(clock, kMinutes), 58);
  EXPECT_EQ(read(clock, kCentury), 20);
  write(clock, kRegisterB, kBinary);
  EXPECT_EQ(read(clock, kHours), kAfternoon | 11);
  EXPECT_EQ(read(clock, kHours, kLeapDay - 11 * kHour), kAfternoon | 12);
  EXPECT_EQ(read(clock, kHours, kLeapDay - 12 * kHour), 11);
  EXPECT_EQ(read(clock, kHours, kLeapDay - 23 * kHour), 12);
  write(clock, kRegisterB, 0);
  EXPECT_EQ(read(clock, kHours), kAfternoon | 0x11);
}

TEST(RtcTest, IsNeverInAnUpdateAndNeverInterrupts) {
  Rtc clock;
  write(clock, kRegisterA, 0xff);
  EXPECT_EQ(read(clock, kRegisterA), 0x7f);
  write(clock, kRegisterB, 0xff);
  EXPECT_EQ(read(clock, kRegisterB), 0x8f);
  write(clock, kRegisterC, 0xff);
  EXPECT_EQ(read(clock, kRegisterC), 0);
  EXPECT_EQ(read(clock, kRegisterD), kValid);
}

TEST(RtcTest, CannotBeSet) {
  Rtc clock;
  for (const std::uint8_t index : {kSeconds, kMinutes, kHours, kDayOfWeek, kDayOfMonth, kMonth, kYear, kCentury}) {
    const auto before = read(clock, index);
    write(clock, index, 0x01);
    EXPECT_EQ(read(clock, index), before) << int{index};
  }
}

TEST(RtcTest, HasMemoryThatIsZeroAtFirst) {
  Rtc clock;
  for (unsigned index = 0x0e; index < kRegisters; ++index) {
    if (index == kCentury) continue;
    EXPECT_EQ(read(clock, static_cast<std::uint8_t>(index)), 0) << index;
  }
  write(clock, 0x0f, 0x0a);
  write(clock, 0x7f, 0x77);
  EXPECT_EQ(read(clock, 0x0f), 0x0a);
  EXPECT_EQ(read(clock, 0x7f), 0x77);
  write(clock, kMinutesAlarm, 0x30);
  EXPECT_EQ(read(clock, kMinutesAlarm), 0x30);
}

TEST(RtcTest, IgnoresTheIndexNmiBit) {
  Rtc clock;
  write(clock, 0x80 | 0x40, 0x12);
  EXPECT_EQ(read(clock, 0x40), 0x12);
  EXPECT_EQ(read(clock, 0x80 | kMinutes), 0x58);
}

TEST(RtcTest, TakesAnyTime) {
  Rtc clock;
  EXPECT_EQ(read(clock, kYear, std::numeric_limits<std::int64_t>::min()), 0x70);
  EXPECT_EQ(read(clock, kCentury, -1), 0x19);
  EXPECT_EQ(read(clock, kYear, std::numeric_limits<std::int64_t>::max()), 0x99);
  EXPECT_EQ(read(clock, kCentury, std::numeric_limits<std::int64_t>::max()), 0x99);
  EXPECT_EQ(read(clock, kMonth, std::numeric_limits<std::int64_t>::max()), 0x12);
}

}  // namespace
}  // namespace panicroom::kvm
