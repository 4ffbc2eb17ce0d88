#include "harness/events/console_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace panicroom::harness {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class ConsoleLinesTest : public testing::Test {
 protected:
  std::vector<std::pair<std::string, std::uint64_t>> seen_;
  ConsoleLines lines_{[this](std::string_view line, std::uint64_t offset) { seen_.emplace_back(line, offset); }};
};

TEST_F(ConsoleLinesTest, ALineIsReportedWhenItIsWholeWithTheOffsetOfItsFirstByte) {
  lines_.feed("Kernel pa");
  EXPECT_THAT(seen_, IsEmpty());
  lines_.feed("nic\r\n\r\nnext\n");
  EXPECT_THAT(seen_, ElementsAre(Pair("Kernel panic", 0u), Pair("next", 16u)));
}

TEST_F(ConsoleLinesTest, WhatIsLeftAtTheEndIsALine) {
  lines_.feed("a\ncut off");
  lines_.finish();
  lines_.finish();
  EXPECT_THAT(seen_, ElementsAre(Pair("a", 0u), Pair("cut off", 2u)));
}

TEST_F(ConsoleLinesTest, ALineWithoutEndIsCut) {
  lines_.feed(std::string(3 * ConsoleLines::kMaxLine, 'x') + "\nnext\n");
  ASSERT_EQ(seen_.size(), 2u);
  EXPECT_EQ(seen_[0].first, std::string(ConsoleLines::kMaxLine, 'x'));
  EXPECT_EQ(seen_[1], std::pair(std::string("next"), std::uint64_t{3 * ConsoleLines::kMaxLine + 1}));
}

}  // namespace
}  // namespace panicroom::harness
