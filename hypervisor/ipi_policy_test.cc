#include "hypervisor/ipi_policy.h"

#include <gtest/gtest.h>

#include <array>

namespace panicroom::hypervisor {
namespace {

constexpr VcpuId k0{0};
constexpr VcpuId k1{1};
constexpr VcpuId k2{2};
using Decided = std::optional<std::size_t>;

IpiRule drop(std::optional<std::uint32_t> count = {}) {
  IpiRule rule;
  rule.delivery = Drop{};
  rule.count = count;
  return rule;
}

TEST(IpiPolicy, TheFirstRuleThatMatchesDecides) {
  IpiRule to_2 = drop();
  to_2.target = k2;
  const IpiPolicy policy({to_2, drop()});
  EXPECT_EQ(policy.deciding(DeliveryMode::kNmi, 0, k0, k2), Decided(0));
  EXPECT_EQ(policy.deciding(DeliveryMode::kNmi, 0, k0, k1), Decided(1));
  EXPECT_EQ(IpiPolicy().deciding(DeliveryMode::kNmi, 0, k0, k1), std::nullopt);
}

TEST(IpiPolicy, ARuleAboutAVectorDoesNotSpeakOfNmis) {
  IpiRule about_0 = drop();
  about_0.vector = 0;
  const IpiPolicy policy({about_0});
  EXPECT_EQ(policy.deciding(DeliveryMode::kNmi, 0, k0, k1), std::nullopt);
  EXPECT_EQ(policy.deciding(DeliveryMode::kFixed, 0, k0, k1), Decided(0));
}

TEST(IpiPolicy, AUsedUpRuleLeavesTheDecisionToTheNext) {
  IpiPolicy policy({drop(2), drop()});
  for (const std::size_t expected : {0U, 0U, 1U, 1U}) {
    const std::array decided = {policy.deciding(DeliveryMode::kNmi, 0, k0, k1)};
    EXPECT_EQ(decided[0], Decided(expected));
    policy.count(decided);
  }
}

TEST(IpiPolicy, AnIpiToManyCountsOnce) {
  IpiPolicy policy({drop(2)});
  const std::array<Decided, 3> decided = {0, std::nullopt, 0};
  policy.count(decided);
  EXPECT_EQ(policy.deciding(DeliveryMode::kNmi, 0, k0, k1), Decided(0));
  policy.count(decided);
  EXPECT_EQ(policy.deciding(DeliveryMode::kNmi, 0, k0, k1), std::nullopt);
}

TEST(IpiPolicy, WhatIsNotActiveMatchesNothingAndKeepsItsCount) {
  IpiPolicy policy({drop(2), drop()});
  policy.count(std::array{Decided(0)});
  policy.set_active(0, false);
  EXPECT_EQ(policy.deciding(DeliveryMode::kNmi, 0, k0, k1), Decided(1));
  policy.set_active(0, true);
  EXPECT_EQ(policy.deciding(DeliveryMode::kNmi, 0, k0, k1), Decided(0));
  policy.count(std::array{Decided(0)});
  EXPECT_EQ(policy.deciding(DeliveryMode::kNmi, 0, k0, k1), Decided(1));
  policy.set_active(7, false);  // There is none.
}

}  // namespace
}  // namespace panicroom::hypervisor
