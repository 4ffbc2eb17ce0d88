#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

class Ipis : public Conformance {};

TEST_P(Ipis, AsSentIsReportedWithItsTargetsAndArrives) {
  auto guest = at_work(3);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kIpiPolicy);
  ASSERT_OK(guest->machine().watch_ipis(icr_stores(*guest), {}));
  guest->command(k1, Command::kNmiToOthers);
  auto event = guest->run();
  ASSERT_EVENT(IpiSent, event);
  const auto nmi = std::get<IpiSent>(event).ipi;
  EXPECT_EQ(nmi.source, k1);
  EXPECT_THAT(nmi.targets, ElementsAre(k0, k2));
  EXPECT_EQ(nmi.sent_as, DeliveryMode::kNmi);
  EXPECT_THAT(nmi.delivered_as, ElementsAre(DeliveryMode::kNmi, DeliveryMode::kNmi));
  EXPECT_EQ(guest->machine().registers(k1)->rip, guest->at("icr_nmi_next").value);
  guest->run_until([&] { return guest->number("nmis", k0) == 1 && guest->number("nmis", k2) == 1; });
  EXPECT_EQ(guest->number("nmis", k1), 0U);

  for (const auto vcpu : {k1, k2}) guest->command(vcpu, Command::kInterruptsOn);
  guest->command(k0, Command::kFixedTo1);
  event = guest->run();
  ASSERT_EVENT(IpiSent, event);
  EXPECT_THAT(std::get<IpiSent>(event).ipi.targets, ElementsAre(k1));
  EXPECT_EQ(std::get<IpiSent>(event).ipi.vector, 0xf8);
  EXPECT_EQ(std::get<IpiSent>(event).ipi.sent_as, DeliveryMode::kFixed);
  guest->run_until([&] { return guest->number("irqs", k1) == 1; });

  guest->command(k0, Command::kFixedTo1And2Logical);
  event = guest->run();
  ASSERT_EVENT(IpiSent, event);
  EXPECT_THAT(std::get<IpiSent>(event).ipi.targets, ElementsAre(k1, k2));
  guest->run_until([&] { return guest->number("irqs", k1) == 2 && guest->number("irqs", k2) == 1; });
  EXPECT_EQ(guest->number("irqs", k0), 0U);
}

TEST_P(Ipis, WhatNobodyWatchedIsToldOnceAndInOrder) {
  auto guest = at_work(3);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kIpiRecord);
  NEEDS_CAPABILITY(machine, Capability::kIpiPolicy);
  const auto starting = machine.take_unwatched_ipis();
  EXPECT_THAT(starting.sent, Not(IsEmpty())) << "the guest has started its other CPUs by IPIs";
  EXPECT_EQ(starting.lost, 0U);

  const auto before = Clock::now();
  guest->command(k1, Command::kNmiToOthers);
  guest->run_until([&] { return guest->number("nmis", k0) == 1 && guest->number("nmis", k2) == 1; });
  guest->command(k1, Command::kInterruptsOn);
  guest->command(k0, Command::kFixedTo1);
  guest->run_until([&] { return guest->number("irqs", k1) == 1; });
  // While the IPIs are watched they are reported, and not told again.
  ASSERT_OK(machine.watch_ipis(icr_stores(*guest), {}));
  guest->command(k1, Command::kNmiToOthers);
  ASSERT_EVENT(IpiSent, guest->run());
  ASSERT_OK(machine.unwatch_ipis());

  const auto sent = machine.take_unwatched_ipis().sent;
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0].ipi.source, k1);
  EXPECT_EQ(sent[0].ipi.sent_as, DeliveryMode::kNmi);
  EXPECT_THAT(sent[0].ipi.targets, ElementsAre(k0, k2));
  EXPECT_THAT(sent[0].ipi.delivered_as, ElementsAre(DeliveryMode::kNmi, DeliveryMode::kNmi));
  EXPECT_EQ(sent[1].ipi.vector, 0xf8);
  EXPECT_THAT(sent[1].ipi.targets, ElementsAre(k1));
  EXPECT_LE(before, sent[0].at);
  EXPECT_LE(sent[0].at, sent[1].at);
  EXPECT_LE(sent[1].at, Clock::now());
  EXPECT_THAT(machine.take_unwatched_ipis().sent, IsEmpty());
}

TEST_P(Ipis, EachTargetGetsWhatItsRuleSays) {
  auto guest = at_work(4);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kIpiPolicy);
  const VcpuId k3{3};
  std::vector<IpiRule> rules(2);
  rules[0].mode = DeliveryMode::kNmi;
  rules[0].target = k1;
  rules[0].delivery = Drop{};
  rules[1].mode = DeliveryMode::kNmi;
  rules[1].target = k2;
  rules[1].delivery = DeliverAsIrq{};
  ASSERT_OK(guest->machine().watch_ipis(icr_stores(*guest), rules));
  guest->command(k0, Command::kNmiToOthers);
  const auto event = guest->run();
  ASSERT_EVENT(IpiSent, event);
  const auto& ipi = std::get<IpiSent>(event).ipi;
  EXPECT_THAT(ipi.targets, ElementsAre(k1, k2, k3));
  EXPECT_THAT(ipi.delivered_as, ElementsAre(std::nullopt, DeliveryMode::kFixed, DeliveryMode::kNmi));
  EXPECT_EQ(guest->machine().registers(k0)->rip, guest->at("icr_nmi_next").value);
  guest->run_until([&] { return guest->number("nmis", k3) == 1; });
  EXPECT_EQ(guest->number("nmis", k1), 0U);
  EXPECT_EQ(guest->number("nmis", k2), 0U);
  EXPECT_EQ(guest->number("irqs", k2), 0U) << "interrupts are off there: it is pending";
  guest->command(k2, Command::kInterruptsOn);
  guest->run_until([&] { return guest->number("irqs", k2) == 1; });
}

TEST_P(Ipis, AMaskableOneCanArriveAsAnNmi) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kIpiPolicy);
  std::vector<IpiRule> rules(1);
  rules[0].vector = kRebootVector;
  rules[0].delivery = DeliverAsNmi{};
  ASSERT_OK(guest->machine().watch_ipis(icr_stores(*guest), rules));
  guest->command(k0, Command::kFixedTo1);
  const auto event = guest->run();
  ASSERT_EVENT(IpiSent, event);
  EXPECT_THAT(std::get<IpiSent>(event).ipi.delivered_as, ElementsAre(DeliveryMode::kNmi));
  guest->run_until([&] { return guest->number("nmis", k1) == 1; });
}

TEST_P(Ipis, ARuleDecidesAsOftenAsItSaysAndWhileItIsActive) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kIpiPolicy);
  std::vector<IpiRule> rules(1);
  rules[0].mode = DeliveryMode::kNmi;
  rules[0].count = 2;
  rules[0].delivery = Drop{};
  ASSERT_OK(guest->machine().watch_ipis(icr_stores(*guest), rules));
  // Dropped, then two while the rule does not take part, then dropped once more, and then it is used up.
  const std::vector<bool> active = {true, false, false, true, true};
  const std::vector<bool> arrives = {false, true, true, false, true};
  std::uint64_t nmis = 0;
  for (std::size_t i = 0; i < active.size(); ++i) {
    ASSERT_OK(guest->machine().set_ipi_rule_active(0, active[i]));
    guest->command(k0, Command::kNmiToOthers);
    const auto event = guest->run();
    ASSERT_EVENT(IpiSent, event);
    const auto& delivered = std::get<IpiSent>(event).ipi.delivered_as;
    if (arrives[i]) {
      EXPECT_THAT(delivered, ElementsAre(DeliveryMode::kNmi)) << i;
      ++nmis;
      guest->run_until([&] { return guest->number("nmis", k1) == nmis; });
    } else {
      EXPECT_THAT(delivered, ElementsAre(std::nullopt)) << i;
      EXPECT_EQ(guest->number("nmis", k1), nmis) << i;
    }
  }
}

TEST_P(Ipis, ADelayedOneArrivesLaterAndNotBefore) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kIpiPolicy);
  std::vector<IpiRule> rules(1);
  rules[0].delivery = Delay{300ms};
  ASSERT_OK(guest->machine().watch_ipis(icr_stores(*guest), rules));
  guest->command(k0, Command::kNmiToOthers);
  ASSERT_OK(guest->machine().add_breakpoint(guest->at("nmi_handler"), {k1}));
  auto event = guest->run();
  ASSERT_EVENT(IpiSent, event);
  const auto sent = Clock::now();
  EXPECT_THAT(std::get<IpiSent>(event).ipi.delivered_as, ElementsAre(DeliveryMode::kNmi));
  event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  EXPECT_GE(Clock::now() - sent, 290ms);
}

TEST_P(Ipis, ABreakpointAtTheStoreIsReportedFirst) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kIpiPolicy);
  ASSERT_OK(guest->machine().watch_ipis(icr_stores(*guest), {}));
  ASSERT_OK(guest->machine().add_breakpoint(guest->at("icr_nmi"), {k0}));
  for (std::uint64_t i = 0; i < 3; ++i) {
    guest->command(k0, Command::kNmiToOthers);
    auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    EXPECT_EQ(guest->number("nmis", k1), i);
    event = guest->run();
    ASSERT_EVENT(IpiSent, event);
    guest->run_until([&] { return guest->number("nmis", k1) == i + 1; });
  }
  ASSERT_OK(guest->machine().unwatch_ipis());
  guest->command(k0, Command::kNmiToOthers);
  auto event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  guest->run_until([&] { return guest->number("nmis", k1) == 4; });
}

PANICROOM_ON_EVERY_ENGINE(Ipis);

}  // namespace
}  // namespace panicroom::hypervisor
