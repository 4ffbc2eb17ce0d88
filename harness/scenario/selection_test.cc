#include "harness/scenario/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

Scenario scenario(std::string name, std::string tier, bool file_named = false) {
  Scenario made;
  made.name = std::move(name);
  made.tier = std::move(tier);
  made.file_named = file_named;
  return made;
}

std::vector<Scenario> some() {
  return {scenario("a", ""), scenario("b", "seed"), scenario("c", "slow"), scenario("d", "seed")};
}

std::vector<std::string> names(const Selection& selection) {
  std::vector<std::string> found;
  for (const Scenario& s : selection.scenarios) found.push_back(s.name);
  return found;
}

TEST(SelectionTest, WithoutAnyTheDefaultOneAndTheRestIsCounted) {
  const auto selection = select_scenarios(some(), {});
  ASSERT_TRUE(selection);
  EXPECT_THAT(names(*selection), ElementsAre("a"));
  EXPECT_THAT(selection->left_out, ElementsAre(Pair("seed", 2u), Pair("slow", 1u)));
  EXPECT_EQ(to_text(selection->left_out), "2 of tier seed, 1 of tier slow");
}

TEST(SelectionTest, ExactlyTheTiersThatAreAskedFor) {
  const Selectors seed{.tiers = {"seed"}, .names = {}};
  EXPECT_THAT(names(*select_scenarios(some(), seed)), ElementsAre("b", "d"));
  EXPECT_THAT(select_scenarios(some(), seed)->left_out, ElementsAre(Pair("default", 1u), Pair("slow", 1u)));
  const Selectors two{.tiers = {"slow", "default"}, .names = {}};
  EXPECT_THAT(names(*select_scenarios(some(), two)), ElementsAre("a", "c"));
}

TEST(SelectionTest, AllLeavesNothingOut) {
  const Selectors all{.tiers = {"all"}, .names = {}};
  const auto selection = select_scenarios(some(), all);
  ASSERT_TRUE(selection);
  EXPECT_THAT(names(*selection), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(selection->left_out, IsEmpty());
}

TEST(SelectionTest, AFileThatIsNamedItselfRunsWhateverItsTier) {
  auto scenarios = some();
  scenarios.push_back(scenario("e", "seed", true));
  EXPECT_THAT(names(*select_scenarios(scenarios, {})), ElementsAre("a", "e"));
  const Selectors slow{.tiers = {"slow"}, .names = {}};
  EXPECT_THAT(names(*select_scenarios(scenarios, slow)), ElementsAre("c", "e"));
}

TEST(SelectionTest, ATierThatNoScenarioIsOfIsAMistake) {
  const Selectors slip{.tiers = {"seeed"}, .names = {}};
  const auto selection = select_scenarios(some(), slip);
  ASSERT_FALSE(selection);
  EXPECT_EQ(selection.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(selection.error().message(), HasSubstr("did you mean 'seed'?"));
}

TEST(SelectionTest, NothingToRunIsAMistake) {
  const auto selection = select_scenarios({scenario("b", "seed")}, {});
  ASSERT_FALSE(selection);
  EXPECT_EQ(selection.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(selection.error().message(), HasSubstr("1 of tier seed"));
}

TEST(SelectionTest, WhatIsNamedRunsWhateverItsTier) {
  const auto selection = select_scenarios(some(), {.tiers = {}, .names = {"a", "[cd]"}});
  ASSERT_TRUE(selection);
  EXPECT_THAT(names(*selection), ElementsAre("a", "c", "d"));
  EXPECT_THAT(selection->left_out, ElementsAre(Pair("seed", 1u)));
}

TEST(SelectionTest, TiersAndNamesMustBothHold) {
  EXPECT_THAT(names(*select_scenarios(some(), {.tiers = {"seed"}, .names = {"[a-c]"}})), ElementsAre("b"));
  EXPECT_EQ(select_scenarios(some(), {.tiers = {"slow"}, .names = {"b"}}).error().kind(), ErrorKind::kInvalidInput);
}

TEST(SelectionTest, ANameIsAskedOfFilesThatAreNamedThemselvesToo) {
  EXPECT_THAT(names(*select_scenarios({scenario("seed.irq", "seed", true), scenario("seed.nmi", "seed", true)},
                                      {.tiers = {}, .names = {"*.nmi"}})),
              ElementsAre("seed.nmi"));
}

TEST(SelectionTest, ANameThatNothingMatchesIsAMistake) {
  const auto selection = select_scenarios({scenario("single-panic", "")}, {.tiers = {}, .names = {"singel-panic"}});
  ASSERT_FALSE(selection);
  EXPECT_EQ(selection.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(selection.error().message(), HasSubstr("did you mean 'single-panic'?"));
}

}  // namespace
}  // namespace panicroom::harness
