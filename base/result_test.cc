#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace panicroom {
namespace {

Result<std::unique_ptr<int>> make(bool good) {
  if (!good) return invalid_input("no {}", 42);
  return std::make_unique<int>(42);
}

Result<int> through(bool good) {
  auto value = TRY(make(good));
  return *value + 1;
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): the analyzer does not see TRY run destructors.

Result<int> inside_another(bool good) { return TRY(through(TRY(through(good)) == 43)); }

Result<> through_void(bool good) {
  TRY_CONTEXT("outer", make(good));
  return {};
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): as above.

TEST(Result, TryGivesTheValueOfMoveOnlyTypes) { EXPECT_EQ(*through(true), 43); }

TEST(Result, OneTryMayStandInsideAnother) {
  EXPECT_EQ(*inside_another(true), 43);
  EXPECT_FALSE(inside_another(false));
}

TEST(Result, TryReturnsTheErrorWithItsKind) {
  const auto result = through(false);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_EQ(result.error().message(), "no 42");
}

TEST(Result, ContextStandsBeforeTheMessage) {
  ASSERT_TRUE(through_void(true));
  EXPECT_EQ(through_void(false).error().message(), "outer: no 42");
}

TEST(Result, ErrnoErrorsAreTheHostsAndSayWhatErrnoMeans) {
  const Error error = errno_error(ENOSPC, "writing x");
  EXPECT_EQ(error.kind(), ErrorKind::kHost);
  EXPECT_EQ(error.message(), "writing x: No space left on device");
}

}  // namespace
}  // namespace panicroom
