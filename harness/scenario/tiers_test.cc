#include "harness/scenario/tiers.h"

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

std::vector<std::string> names(const TierSelection& selection) {
  std::vector<std::string> found;
  for (const Scenario& s : selection.scenarios) found.push_back(s.name);
  return found;
}

TEST(Tiers, WithoutAnyTheDefaultOneAndTheRestIsCounted) {
  const auto selection = select_tiers(some(), {});
  ASSERT_TRUE(selection);
  EXPECT_THAT(names(*selection), ElementsAre("a"));
  EXPECT_THAT(selection->left_out, ElementsAre(Pair("seed", 2u), Pair("slow", 1u)));
  EXPECT_EQ(to_text(selection->left_out), "2 of tier seed, 1 of tier slow");
}

TEST(Tiers, ExactlyThoseThatAreNamed) {
  const std::vector<std::string> seed = {"seed"};
  EXPECT_THAT(names(*select_tiers(some(), seed)), ElementsAre("b", "d"));
  EXPECT_THAT(select_tiers(some(), seed)->left_out, ElementsAre(Pair("default", 1u), Pair("slow", 1u)));
  const std::vector<std::string> two = {"slow", "default"};
  EXPECT_THAT(names(*select_tiers(some(), two)), ElementsAre("a", "c"));
}

TEST(Tiers, AllLeavesNothingOut) {
  const std::vector<std::string> all = {"all"};
  const auto selection = select_tiers(some(), all);
  ASSERT_TRUE(selection);
  EXPECT_THAT(names(*selection), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(selection->left_out, IsEmpty());
}

TEST(Tiers, AFileThatIsNamedItselfRunsWhateverItsTier) {
  auto scenarios = some();
  scenarios.push_back(scenario("e", "seed", true));
  EXPECT_THAT(names(*select_tiers(scenarios, {})), ElementsAre("a", "e"));
  const std::vector<std::string> slow = {"slow"};
  EXPECT_THAT(names(*select_tiers(scenarios, slow)), ElementsAre("c", "e"));
}

TEST(Tiers, ATierThatNoScenarioIsOfIsAMistake) {
  const std::vector<std::string> slip = {"seeed"};
  const auto selection = select_tiers(some(), slip);
  ASSERT_FALSE(selection);
  EXPECT_EQ(selection.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(selection.error().message(), HasSubstr("did you mean 'seed'?"));
}

TEST(Tiers, NothingToRunIsAMistake) {
  const auto selection = select_tiers({scenario("b", "seed")}, {});
  ASSERT_FALSE(selection);
  EXPECT_EQ(selection.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(selection.error().message(), HasSubstr("1 of tier seed"));
}

}  // namespace
}  // namespace panicroom::harness
