// What rules make of IPIs, per kind and target: the same as hypervisor/qemu/apic_routing_test.cc has it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hypervisor/kvm/apic/interrupt_fabric.h"

namespace panicroom::kvm {
namespace {

using namespace std::chrono_literals;
using hypervisor::Clock;
using hypervisor::Delay;
using hypervisor::DeliverAsIrq;
using hypervisor::DeliverAsNmi;
using hypervisor::DeliverAsSent;
using hypervisor::Drop;
using hypervisor::Ipi;
using hypervisor::IpiRule;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr VcpuId k0{0};
constexpr VcpuId k1{1};
constexpr VcpuId k2{2};
constexpr VcpuId k3{3};
constexpr std::uint32_t kNmiToOthers = 0xc'0400;
constexpr std::uint32_t kStopToOthers = 0xc'40f8;
const Clock::time_point kHost{100s};

IpiRule rule(hypervisor::Delivery delivery) {
  IpiRule made;
  made.delivery = delivery;
  return made;
}
IpiRule rule_to(VcpuId target, hypervisor::Delivery delivery) {
  IpiRule made = rule(delivery);
  made.target = target;
  return made;
}

class InterruptFabricPolicyTest : public testing::Test {
 protected:
  InterruptFabricPolicyTest() {
    for (std::uint32_t i = 0; i < 4; ++i) {
      fabric_.write(VcpuId{i}, Gpa{apic::kDefaultBase + apic::kSvr}, 0x1ff, now());
      fabric_.write(VcpuId{i}, Gpa{apic::kDefaultBase + apic::kLdr}, 1U << (24 + i), now());
    }
  }

  static Moment now() { return {.guest = {.clock = 1000ns}, .host = kHost}; }
  std::optional<Ipi> send(VcpuId source, std::uint32_t low, std::uint8_t destination = 0) {
    const auto command = decode_icr(low, std::uint32_t{destination} << 24, false);
    return command ? fabric_.send(source, *command, now()) : std::nullopt;
  }
  std::vector<VcpuId> nmis() {
    std::vector<VcpuId> vcpus;
    for (std::uint32_t i = 0; i < 4; ++i) {
      if (fabric_.apic(VcpuId{i}).take_nmi()) vcpus.push_back(VcpuId{i});
    }
    return vcpus;
  }
  std::vector<VcpuId> pending(std::uint8_t vector) {
    std::vector<VcpuId> vcpus;
    for (std::uint32_t i = 0; i < 4; ++i) {
      if (fabric_.apic(VcpuId{i}).irr().contains(vector)) vcpus.push_back(VcpuId{i});
    }
    return vcpus;
  }

  InterruptFabric fabric_{4, 1'000'000};
};

TEST_F(InterruptFabricPolicyTest, WithoutRulesItIsReportedAndArrivesAsSent) {
  fabric_.watch({});
  const auto ipi = send(k1, kNmiToOthers);
  ASSERT_TRUE(ipi);
  EXPECT_EQ(ipi->source, k1);
  EXPECT_EQ(ipi->sent_as, DeliveryMode::kNmi);
  EXPECT_THAT(ipi->targets, ElementsAre(k0, k2, k3));
  EXPECT_THAT(ipi->delivered_as, ElementsAre(DeliveryMode::kNmi, DeliveryMode::kNmi, DeliveryMode::kNmi));
  EXPECT_THAT(nmis(), ElementsAre(k0, k2, k3));
}

TEST_F(InterruptFabricPolicyTest, EveryKindAndWayOfSendingIsReported) {
  fabric_.watch({});
  for (const std::uint32_t mode : {0U, 1U, 2U, 4U, 5U, 6U}) {
    const auto ipi = send(k0, 0x4041 | (mode << 8), 1);
    ASSERT_TRUE(ipi) << mode;
    EXPECT_EQ(ipi->sent_as, static_cast<DeliveryMode>(mode));
    EXPECT_THAT(ipi->delivered_as, ElementsAre(static_cast<DeliveryMode>(mode)));
  }
  EXPECT_THAT(send(k0, 0x4041, 9)->targets, IsEmpty());
  EXPECT_THAT(send(k2, 0x4'4041)->targets, ElementsAre(k2));
  const auto written = fabric_.write(k3, Gpa{apic::kDefaultBase + apic::kIcrLow}, kNmiToOthers, now());
  ASSERT_TRUE(written.sent);
  EXPECT_EQ(written.sent->source, k3);
}

TEST_F(InterruptFabricPolicyTest, TheFirstMatchingRuleDecidesForEachTarget) {
  IpiRule from_0 = rule(DeliverAsIrq{0xee});
  from_0.source = k0;
  from_0.target = k2;
  fabric_.watch({rule_to(k1, DeliverAsSent{}), from_0, rule(Drop{})});
  const auto ipi = send(k0, kNmiToOthers);
  EXPECT_THAT(ipi->delivered_as, ElementsAre(DeliveryMode::kNmi, DeliveryMode::kFixed, std::nullopt));
  EXPECT_THAT(nmis(), ElementsAre(k1));
  EXPECT_THAT(pending(0xee), ElementsAre(k2));
  EXPECT_THAT(fabric_.take_woken(), ElementsAre(k1, k2));
  EXPECT_EQ(fabric_.record().size(), 0U) << "what is reported need not be recorded";
}

TEST_F(InterruptFabricPolicyTest, AnNmiBecomesTheRebootVectorUnlessSaidOtherwise) {
  fabric_.watch({rule(DeliverAsIrq{})});
  send(k0, kNmiToOthers);
  EXPECT_THAT(pending(0xf8), ElementsAre(k1, k2, k3));
  EXPECT_THAT(nmis(), IsEmpty());
}

TEST_F(InterruptFabricPolicyTest, AMaskableInterruptKeepsItsVectorAsIrq) {
  fabric_.watch({rule(DeliverAsIrq{0xee})});
  EXPECT_THAT(send(k0, 0xc'40f7)->delivered_as,
              ElementsAre(DeliveryMode::kFixed, DeliveryMode::kFixed, DeliveryMode::kFixed));
  EXPECT_THAT(pending(0xf7), ElementsAre(k1, k2, k3));
  EXPECT_THAT(pending(0xee), IsEmpty());
}

TEST_F(InterruptFabricPolicyTest, AMaskableInterruptCanArriveAsAnNmi) {
  IpiRule stop = rule_to(k2, DeliverAsNmi{});
  stop.vector = 0xf8;
  fabric_.watch({stop});
  EXPECT_THAT(send(k0, kStopToOthers)->delivered_as,
              ElementsAre(DeliveryMode::kFixed, DeliveryMode::kNmi, DeliveryMode::kFixed));
  EXPECT_THAT(nmis(), ElementsAre(k2));
  EXPECT_THAT(pending(0xf8), ElementsAre(k1, k3));
}

TEST_F(InterruptFabricPolicyTest, ARuleAboutAVectorDoesNotSpeakOfNmis) {
  IpiRule about_0 = rule(Drop{});
  about_0.vector = 0;
  fabric_.watch({about_0});
  send(k0, kNmiToOthers);
  EXPECT_THAT(nmis(), ElementsAre(k1, k2, k3));
}

TEST_F(InterruptFabricPolicyTest, ARuleAboutAModeSpeaksOfItAlone) {
  IpiRule nmi = rule(Drop{});
  nmi.mode = DeliveryMode::kNmi;
  fabric_.watch({nmi});
  send(k0, kStopToOthers);
  send(k0, kNmiToOthers);
  EXPECT_THAT(pending(0xf8), ElementsAre(k1, k2, k3));
  EXPECT_THAT(nmis(), IsEmpty());
}

TEST_F(InterruptFabricPolicyTest, AnIpiToManyCountsOnce) {
  IpiRule twice = rule(Drop{});
  twice.count = 2;
  fabric_.watch({twice});
  for (int i = 0; i < 2; ++i) {
    send(k0, kNmiToOthers);
    EXPECT_THAT(nmis(), IsEmpty());
  }
  send(k0, kNmiToOthers);
  EXPECT_THAT(nmis(), ElementsAre(k1, k2, k3));
}

TEST_F(InterruptFabricPolicyTest, ARuleMatchesWhileItIsActive) {
  fabric_.watch({rule(Drop{})});
  fabric_.set_rule_active(0, false);
  send(k0, kNmiToOthers);
  EXPECT_THAT(nmis(), ElementsAre(k1, k2, k3));
  fabric_.set_rule_active(0, true);
  fabric_.set_rule_active(7, false);  // There is none.
  send(k0, kNmiToOthers);
  EXPECT_THAT(nmis(), IsEmpty());
}

TEST_F(InterruptFabricPolicyTest, UnwatchedItIsAsSent) {
  fabric_.watch({rule(Drop{})});
  EXPECT_TRUE(fabric_.watching());
  fabric_.unwatch();
  EXPECT_FALSE(fabric_.watching());
  EXPECT_EQ(send(k0, kNmiToOthers), std::nullopt);
  EXPECT_THAT(nmis(), ElementsAre(k1, k2, k3));
}

TEST_F(InterruptFabricPolicyTest, ADelayedOneArrivesLaterAndNotBefore) {
  fabric_.watch({rule_to(k1, Delay{2s}), rule_to(k2, Delay{1s})});
  EXPECT_EQ(fabric_.next_due(), std::nullopt);
  const auto ipi = send(k0, kNmiToOthers);
  EXPECT_THAT(ipi->delivered_as, ElementsAre(DeliveryMode::kNmi, DeliveryMode::kNmi, DeliveryMode::kNmi));
  EXPECT_THAT(nmis(), ElementsAre(k3));
  EXPECT_THAT(fabric_.take_woken(), ElementsAre(k3));
  EXPECT_EQ(fabric_.next_due(), kHost + 1s);
  fabric_.deliver_due(kHost + 999ms);
  EXPECT_THAT(nmis(), IsEmpty());
  fabric_.deliver_due(kHost + 1s);
  EXPECT_THAT(nmis(), ElementsAre(k2));
  EXPECT_THAT(fabric_.take_woken(), ElementsAre(k2));
  fabric_.unwatch();
  EXPECT_EQ(fabric_.next_due(), kHost + 2s);
  fabric_.deliver_due(kHost + 3s);
  EXPECT_THAT(nmis(), ElementsAre(k1));
  EXPECT_EQ(fabric_.next_due(), std::nullopt);
  fabric_.deliver_due(kHost + 3s);
  EXPECT_THAT(nmis(), IsEmpty());
}

TEST_F(InterruptFabricPolicyTest, ASnapshotHoldsWhatIsDelayedByHowMuchLongerAndNoRules) {
  fabric_.watch({rule(Delay{2s})});
  send(k0, 0x4041, 1);
  const auto saved = fabric_.state(kHost + 500ms);
  fabric_.deliver_due(kHost + 2s);
  send(k0, 0x4043, 1);  // After the snapshot: it never was.
  fabric_.watch({});
  fabric_.set_state(saved, kHost + 60s);
  EXPECT_TRUE(fabric_.watching());
  EXPECT_EQ(fabric_.next_due(), kHost + 61s + 500ms);
  EXPECT_THAT(pending(0x41), IsEmpty());
  fabric_.deliver_due(kHost + 62s);
  EXPECT_THAT(pending(0x41), ElementsAre(k1));
  send(k0, 0x4042, 1);
  EXPECT_THAT(pending(0x42), ElementsAre(k1));
}

TEST_F(InterruptFabricPolicyTest, ResetForgetsWhatIsDelayed) {
  fabric_.watch({rule(Delay{2s})});
  send(k0, kNmiToOthers);
  fabric_.reset();
  EXPECT_EQ(fabric_.next_due(), std::nullopt);
  EXPECT_TRUE(fabric_.watching());
}

TEST_F(InterruptFabricPolicyTest, LowestPriorityReachesOne) {
  fabric_.watch({});
  const auto as_sent = send(k0, 0x4941, 0x0f);
  EXPECT_THAT(as_sent->targets, ElementsAre(k0, k1, k2, k3));
  EXPECT_THAT(as_sent->delivered_as, testing::Each(DeliveryMode::kLowestPriority));
  EXPECT_THAT(pending(0x41), ElementsAre(k0));
}

TEST_F(InterruptFabricPolicyTest, LowestPriorityReachesOneOfThoseThatNoRuleSpares) {
  fabric_.apic(k1).set_cr8(5);
  fabric_.watch({rule_to(k0, Drop{})});
  const auto spared = send(k0, 0x4942, 0x07);
  EXPECT_THAT(spared->delivered_as, ElementsAre(std::nullopt, std::nullopt, DeliveryMode::kFixed));
  EXPECT_THAT(pending(0x42), ElementsAre(k2));
}

TEST_F(InterruptFabricPolicyTest, LowestPriorityThatIsDroppedOrDelayedForAll) {
  fabric_.watch({rule(Drop{})});
  EXPECT_THAT(send(k0, 0x4943, 0x03)->delivered_as, ElementsAre(std::nullopt, std::nullopt));
  EXPECT_THAT(pending(0x43), IsEmpty());
  fabric_.watch({rule(Delay{1s})});
  EXPECT_THAT(send(k0, 0x4944, 0x03)->delivered_as, ElementsAre(DeliveryMode::kFixed, std::nullopt));
  EXPECT_THAT(pending(0x44), IsEmpty());
  fabric_.deliver_due(kHost + 1s);
  EXPECT_THAT(pending(0x44), ElementsAre(k0));
}

TEST_F(InterruptFabricPolicyTest, InitIsSubjectToRules) {
  fabric_.watch({rule_to(k1, Drop{}), rule_to(k2, Delay{1s})});
  EXPECT_THAT(send(k0, 0xc'c500)->delivered_as, ElementsAre(std::nullopt, DeliveryMode::kInit, DeliveryMode::kInit));
  EXPECT_FALSE(fabric_.apic(k1).init_pending());
  EXPECT_FALSE(fabric_.apic(k2).init_pending());
  EXPECT_TRUE(fabric_.apic(k3).init_pending());
  fabric_.deliver_due(kHost + 1s);
  EXPECT_TRUE(fabric_.apic(k2).init_pending());
}

TEST_F(InterruptFabricPolicyTest, AStartupIsDroppedForAllOrForNone) {
  fabric_.watch({rule_to(k1, Drop{})});
  EXPECT_THAT(send(k0, 0xc'4608)->delivered_as, testing::Each(DeliveryMode::kStartup));
  EXPECT_EQ(fabric_.apic(k1).take_startup(), 0x08);
  fabric_.reset();
  fabric_.watch({rule(Drop{})});
  EXPECT_THAT(send(k0, 0xc'4608)->delivered_as, testing::Each(std::nullopt));
  EXPECT_FALSE(fabric_.apic(k1).startup_pending());
}

TEST_F(InterruptFabricPolicyTest, AStartupCannotBeDelayed) {
  fabric_.watch({rule(Delay{1s})});
  send(k0, 0x4608, 1);
  EXPECT_EQ(fabric_.next_due(), std::nullopt);
  EXPECT_TRUE(fabric_.apic(k1).startup_pending());
}

TEST_F(InterruptFabricPolicyTest, AnInitDeassertDoesNothingButCanBecomeSomething) {
  fabric_.watch({rule_to(k1, Drop{})});
  EXPECT_THAT(send(k0, 0x8500, 0xff)->delivered_as, testing::Each(DeliveryMode::kInit));
  EXPECT_FALSE(fabric_.apic(k2).init_pending());
  fabric_.watch({rule(DeliverAsNmi{})});
  EXPECT_THAT(send(k0, 0x8500, 2)->delivered_as, ElementsAre(DeliveryMode::kNmi));
  EXPECT_THAT(nmis(), ElementsAre(k2));
}

TEST_F(InterruptFabricPolicyTest, NoRuleSpeaksOfTheIoapicsInterrupts) {
  fabric_.watch({rule(Drop{})});
  fabric_.write(k0, Gpa{io_apic::kBase}, 0x10, now());
  fabric_.write(k0, Gpa{io_apic::kBase + 0x10}, 0x34, now());
  fabric_.set_pin(0, true);
  EXPECT_THAT(pending(0x34), ElementsAre(k0));
}

}  // namespace
}  // namespace panicroom::kvm
