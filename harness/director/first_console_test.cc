#include "harness/director/first_console.h"

#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

TEST(FirstConsole, KeepsTheEndOfAnEndlessOneAndNoMore) {
  FirstConsole console;
  const std::string line(1000, 'x');
  for (int i = 0; i < 10'000; ++i) {
    console.feed(line);
    ASSERT_LE(console.text().size(), 2 * FirstConsole::kMost);
  }
  console.feed("the end");
  EXPECT_GE(console.text().size(), FirstConsole::kMost);
  EXPECT_TRUE(console.text().ends_with("xthe end"));
}

}  // namespace
}  // namespace panicroom::harness
