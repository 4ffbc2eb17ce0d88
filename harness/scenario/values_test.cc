#include "harness/scenario/values.h"

#include <gtest/gtest.h>

#include <limits>

namespace panicroom::harness {
namespace {

TEST(Values, Sizes) {
  EXPECT_EQ(parse_size("64K"), 64u << 10);
  EXPECT_EQ(parse_size("512M"), 512u << 20);
  EXPECT_EQ(parse_size("1G"), 1u << 30);
  for (const auto* text : {"", "M", "1", "1m", "1 M", "-1M", "01M", "1MB", "0x1M", "16777216T"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(Values, Durations) {
  EXPECT_EQ(parse_duration("100us"), std::chrono::microseconds(100));
  EXPECT_EQ(parse_duration("250ms"), std::chrono::milliseconds(250));
  EXPECT_EQ(parse_duration("5s"), std::chrono::seconds(5));
  EXPECT_EQ(parse_duration("2m"), std::chrono::minutes(2));
  EXPECT_EQ(parse_duration("1h"), std::chrono::hours(1));
  for (const auto* text : {"", "s", "5", "5 s", "-5s", "1.5s", "5S", "2h", "3600001ms"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Values, DurationsAreWrittenInTheLargestUnit) {
  EXPECT_EQ(to_text(std::chrono::seconds(120)), "2m");
  EXPECT_EQ(to_text(std::chrono::milliseconds(1500)), "1500ms");
  EXPECT_EQ(to_text(Nanoseconds(0)), "0ns");
}

TEST(Values, MachineWords) {
  EXPECT_EQ(parse_machine_word("0"), 0u);
  EXPECT_EQ(parse_machine_word("-1"), ~0ull);
  EXPECT_EQ(parse_machine_word("0xffffffffffffffff"), ~0ull);
  EXPECT_EQ(parse_machine_word("18446744073709551615"), ~0ull);
  EXPECT_EQ(parse_machine_word("-9223372036854775808"), 1ull << 63);
  EXPECT_EQ(parse_machine_word("-0x10"), 0 - 0x10ull);
  for (const auto* text : {"", "-", "0x", "x", "1x", "18446744073709551616", "-9223372036854775809", "--1", "+1"}) {
    EXPECT_FALSE(parse_machine_word(text)) << text;
  }
}

TEST(Values, Places) {
  for (const auto* text : {"workload", "nmi", "ipi:stop", "ipi:nmi", "ipi:0xf8", "panic", "panic/gate"}) {
    const auto at = parse_at(text);
    ASSERT_TRUE(at) << text;
    EXPECT_EQ(to_text(*at), text);
  }
  EXPECT_EQ(to_text(At{Here{}}), "");
  for (const auto* text : {"", "ipi:", "ipi:reboot", "ipi:0x", "ipi:0x100", "ipi:0xf", "ipi:248"}) {
    EXPECT_FALSE(parse_at(text)) << text;
  }
}

}  // namespace
}  // namespace panicroom::harness
