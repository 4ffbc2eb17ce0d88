#include "base/spelling.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace panicroom {
namespace {

constexpr std::array<std::string_view, 4> kKnown = {"timeline", "timeout", "workload", "at"};

TEST(Spelling, FindsTheNearestWord) {
  EXPECT_EQ(closest_spelling("timelime", kKnown), "timeline");
  EXPECT_EQ(closest_spelling("Timeout", kKnown), "timeout");
  EXPECT_EQ(closest_spelling("workloads", kKnown), "workload");
  EXPECT_EQ(closest_spelling("wrokload", kKnown), "workload");  // One transposition.
}

TEST(Spelling, KnowsWhenNothingIsNear) {
  EXPECT_EQ(closest_spelling("refs", kKnown), std::nullopt);
  EXPECT_EQ(closest_spelling("x", kKnown), std::nullopt);
  EXPECT_EQ(closest_spelling("", kKnown), std::nullopt);
  EXPECT_EQ(closest_spelling(std::string(100000, 'w'), kKnown), std::nullopt);
}

TEST(Spelling, EndsAMessage) {
  EXPECT_EQ(did_you_mean("timout", kKnown), " (did you mean 'timeout'?)");
  EXPECT_EQ(did_you_mean("zebra", kKnown), "");
}

}  // namespace
}  // namespace panicroom
