#include "hypervisor/qemu/apic_routing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::qemu {
namespace {

using hypervisor::DeliveryMode;
using hypervisor::IpiPolicy;
using hypervisor::IpiRule;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Shorthand = IcrCommand::Shorthand;

constexpr VcpuId k0{0};
constexpr VcpuId k1{1};
constexpr VcpuId k2{2};

std::vector<ApicState> flat_apics(std::uint32_t icr_high) {
  std::vector<ApicState> apics(4);
  for (std::uint32_t i = 0; i < 4; ++i) apics[i] = {icr_high, 1U << i, 0xf};
  return apics;
}

TEST(DecodeIcr, TakesTheFieldsApart) {
  const auto nmi = decode_icr(0xc0400);
  ASSERT_TRUE(nmi);
  EXPECT_EQ(nmi->mode, DeliveryMode::kNmi);
  EXPECT_EQ(nmi->shorthand, Shorthand::kAllExcludingSelf);
  const auto fixed = decode_icr(0x48f8);
  ASSERT_TRUE(fixed);
  EXPECT_EQ(fixed->mode, DeliveryMode::kFixed);
  EXPECT_EQ(fixed->vector, 0xf8);
  EXPECT_TRUE(fixed->logical);
  EXPECT_TRUE(fixed->assert_level);
  EXPECT_FALSE(decode_icr(0x300));
  EXPECT_FALSE(decode_icr(0x700));
}

TEST(TargetsOf, Shorthands) {
  EXPECT_THAT(targets_of(*decode_icr(0xc0400), k1, {}, 3), ElementsAre(k0, k2));
  EXPECT_THAT(targets_of(*decode_icr(0x80400), k1, {}, 3), ElementsAre(k0, k1, k2));
  EXPECT_THAT(targets_of(*decode_icr(0x40400), k1, {}, 3), ElementsAre(k1));
}

TEST(TargetsOf, PhysicalDestinations) {
  EXPECT_THAT(targets_of(*decode_icr(0x40f8), k0, flat_apics(2U << 24), 4), ElementsAre(k2));
  EXPECT_THAT(targets_of(*decode_icr(0x40f8), k0, flat_apics(9U << 24), 4), IsEmpty());
  EXPECT_THAT(targets_of(*decode_icr(0x40f8), k0, flat_apics(0xffU << 24), 3), ElementsAre(k0, k1, k2));
}

TEST(TargetsOf, LogicalDestinations) {
  EXPECT_THAT(targets_of(*decode_icr(0x48f8), k0, flat_apics(0x6U << 24), 4), ElementsAre(k1, k2));
  auto apics = flat_apics(0x12U << 24);  // Cluster 1, member 2.
  for (auto& apic : apics) apic.destination_format = 0;
  apics[1].logical_destination = 0x12;
  apics[2].logical_destination = 0x22;
  apics[3].logical_destination = 0x13;
  EXPECT_THAT(targets_of(*decode_icr(0x48f8), k0, apics, 4), ElementsAre(k1, VcpuId{3}));
}

TEST(Route, WithoutAMatchingRuleItIsAsSent) {
  IpiRule other;
  other.mode = DeliveryMode::kFixed;
  other.delivery = hypervisor::Drop{};
  const auto routing = route(*decode_icr(0xc0400), k0, {k1, k2}, IpiPolicy({other}));
  EXPECT_TRUE(routing.as_sent);
  EXPECT_THAT(routing.ipi.delivered_as, ElementsAre(DeliveryMode::kNmi, DeliveryMode::kNmi));
}

TEST(Route, TheFirstMatchingRuleDecidesForEachTarget) {
  std::vector<IpiRule> rules(3);
  rules[0].target = k1;
  rules[0].delivery = hypervisor::DeliverAsSent{};
  rules[1].source = k0;
  rules[1].delivery = hypervisor::DeliverAsIrq{0xee};
  rules[2].delivery = hypervisor::Drop{};
  const auto routing = route(*decode_icr(0xc0400), k0, {k1, k2}, IpiPolicy(rules));
  EXPECT_FALSE(routing.as_sent);
  EXPECT_THAT(routing.ipi.delivered_as, ElementsAre(DeliveryMode::kNmi, DeliveryMode::kFixed));
  EXPECT_EQ(routing.delivered[1].vector, 0xee);
}

TEST(Route, ARuleAboutAVectorDoesNotSpeakOfNmis) {
  std::vector<IpiRule> rules(1);
  rules[0].vector = 0;
  rules[0].delivery = hypervisor::Drop{};
  EXPECT_TRUE(route(*decode_icr(0xc0400), k0, {k1}, IpiPolicy(rules)).as_sent);
  EXPECT_FALSE(route(*decode_icr(0xc0000), k0, {k1}, IpiPolicy(rules)).as_sent);
}

TEST(Route, AMaskableInterruptKeepsItsVectorAsIrq) {
  std::vector<IpiRule> rules(1);
  rules[0].delivery = hypervisor::DeliverAsIrq{0xee};
  const auto routing = route(*decode_icr(0xc00f7), k0, {k1}, IpiPolicy(rules));
  EXPECT_TRUE(routing.as_sent);
  EXPECT_EQ(routing.delivered[0].vector, 0xf7);
}

TEST(Route, ADelayIsKeptAndReportedAsSent) {
  std::vector<IpiRule> rules(1);
  rules[0].delivery = hypervisor::Delay{std::chrono::seconds(2)};
  const auto routing = route(*decode_icr(0xc0400), k0, {k1}, IpiPolicy(rules));
  EXPECT_FALSE(routing.as_sent);
  EXPECT_EQ(routing.delivered[0].delay, std::chrono::seconds(2));
  EXPECT_EQ(routing.ipi.delivered_as[0], DeliveryMode::kNmi);
}

TEST(Route, SaysWhichRulesAreToCount) {
  std::vector<IpiRule> rules(2);
  rules[0].target = k1;
  rules[0].delivery = hypervisor::Drop{};
  rules[1].target = k2;
  const auto routing = route(*decode_icr(0xc0400), k0, {k1, VcpuId{3}, k2}, IpiPolicy(rules));
  EXPECT_THAT(routing.decided_by, ElementsAre(0U, std::nullopt, 1U));
}

TEST(Route, LowestPriorityReachesOne) {
  std::vector<IpiRule> rules(1);
  rules[0].target = k0;
  rules[0].delivery = hypervisor::Drop{};
  const auto routing = route(*decode_icr(0x80100), k0, {k0, k1, k2}, IpiPolicy(rules));
  EXPECT_THAT(routing.ipi.delivered_as, ElementsAre(std::nullopt, DeliveryMode::kFixed, std::nullopt));
}

TEST(Route, AStartupIpiIsDroppedForAllOrForNone) {
  std::vector<IpiRule> rules(1);
  rules[0].delivery = hypervisor::Drop{};
  EXPECT_FALSE(route(*decode_icr(0xc4608), k0, {k1, k2}, IpiPolicy(rules)).as_sent);
  rules[0].target = k1;
  const auto routing = route(*decode_icr(0xc4608), k0, {k1, k2}, IpiPolicy(rules));
  EXPECT_TRUE(routing.as_sent);
  EXPECT_THAT(routing.ipi.delivered_as, ElementsAre(DeliveryMode::kStartup, DeliveryMode::kStartup));
}

TEST(MsiFor, AddressesOneApicPhysically) {
  const auto nmi = msi_for(k2, DeliveryMode::kNmi, 0);
  EXPECT_EQ(nmi.address.value, 0xfee02000U);
  EXPECT_EQ(nmi.data, 0x400U);
  EXPECT_EQ(msi_for(k0, DeliveryMode::kFixed, 0xf8).data, 0xf8U);
}

TEST(ParseInfoLapic, FindsWhatItNeedsAndRefusesOtherText) {
  const auto apic = parse_info_lapic(
      "dumping local APIC state for CPU 1 \r\n\r\nLVT0\t 0x00010000 active-hi edge  masked\r\n"
      "ICR\t 0x000c0400 logical edge de-assert no-shorthand\r\nICR2\t 0x02000000 cpu 2 (APIC ID)\r\n"
      "APR 0x00 TPR 0x00 DFR 0x0f LDR 0x04 PPR 0x00\r\n");
  ASSERT_TRUE(apic) << apic.error().message();
  EXPECT_EQ(apic->icr_high, 0x02000000U);
  EXPECT_EQ(apic->logical_destination, 4U);
  EXPECT_EQ(apic->destination_format, 0xfU);
  EXPECT_FALSE(parse_info_lapic(""));
  EXPECT_FALSE(parse_info_lapic("ICR2 0x LDR 0xzz DFR"));
}

}  // namespace
}  // namespace panicroom::qemu
