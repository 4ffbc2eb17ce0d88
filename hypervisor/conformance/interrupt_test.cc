#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

class Nmi : public Conformance {};

TEST_P(Nmi, AnNmiReachesItsVcpuOnlyWithInterruptsOff) {
  auto guest = at_work(3);
  ASSERT_NE(guest, nullptr);
  const auto registers = guest->machine().registers(k1);
  ASSERT_OK(registers);
  EXPECT_EQ(registers->rflags & kRflagsIf, 0U);
  ASSERT_OK(guest->machine().inject_nmi(k1));
  guest->run_until([&] { return guest->number("nmis", k1) > 0; });
  EXPECT_EQ(guest->number("nmis", k1), 1U);
  EXPECT_EQ(guest->number("nmis", k0), 0U);
  EXPECT_EQ(guest->number("nmis", k2), 0U);
}

TEST_P(Nmi, AnNmiWakesAHaltedVcpu) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  EXPECT_FALSE(*machine.halted(k1));
  guest->command(k1, Command::kHalt);
  guest->run_until([&] { return *machine.halted(k1); });
  EXPECT_EQ(machine.step(k1).error().kind(), ErrorKind::kInvalidInput) << "there is nothing to step";
  ASSERT_OK(machine.inject_nmi(k1));
  ASSERT_TRUE(guest->run_to("after_halt", k1));
  EXPECT_EQ(guest->number("nmis", k1), 1U);
}

TEST_P(Nmi, AnNmiStaysPendingForAHeldVcpu) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  guest->machine().set_held(k1, true);
  ASSERT_OK(guest->machine().inject_nmi(k1));
  const auto count = guest->number("counters", k0);
  guest->run_until([&] { return guest->number("counters", k0) > count + 1000; });
  EXPECT_EQ(guest->number("nmis", k1), 0U);
  guest->machine().set_held(k1, false);
  guest->run_until([&] { return guest->number("nmis", k1) > 0; });
}

// A maskable interrupt waits behind STI; an NMI does not.
TEST_P(Nmi, ComesInWhereAMaskableInterruptWaits) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  for (int trial = 1; trial <= 3; ++trial) {
    guest->obey(k1, Command::kInterruptsOff);
    const auto irqs = guest->number("irqs", k1);
    guest->obey(k0, Command::kFixedTo1);
    ASSERT_OK(guest->machine().inject_nmi(k1));
    guest->work({k0, k1});
    EXPECT_EQ(guest->number("nmis", k1), static_cast<std::uint64_t>(trial));
    EXPECT_EQ(guest->number("irqs", k1), irqs);
    guest->obey(k1, Command::kInterruptsOn);
    guest->run_until([&] { return guest->number("irqs", k1) == irqs + 1; });
    guest->work({k0, k1});
    EXPECT_EQ(guest->number("irqs", k1), irqs + 1);
    EXPECT_EQ(guest->number("nmis", k1), static_cast<std::uint64_t>(trial));
  }
}

// SDM Vol. 3, 6.7.1: until the handler's IRET no other NMI comes in, and of those that arrive meanwhile one is kept.
TEST_P(Nmi, AnotherOneWaitsForTheHandlersEnd) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  ASSERT_OK(machine.add_breakpoint(guest->at("nmi_handler"), {k1}));
  ASSERT_OK(machine.inject_nmi(k1));
  auto event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  ASSERT_EQ(guest->number("nmis", k1), 0U);
  ASSERT_OK(machine.inject_nmi(k1));
  ASSERT_OK(machine.inject_nmi(k1));
  event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  EXPECT_EQ(guest->number("nmis", k1), 1U) << "the first handler has run to its end";
  std::uint64_t returns_to = 0;
  ASSERT_OK(
      machine.read_memory(k1, Gva{machine.registers(k1)->rsp}, std::as_writable_bytes(std::span(&returns_to, 1))));
  EXPECT_TRUE(returns_to < guest->at("nmi_handler").value || returns_to > guest->at("nmi_return").value)
      << "and was not interrupted, but at " << Gva{returns_to}.value;
  guest->work({k1});
  EXPECT_EQ(guest->number("nmis", k1), 2U);
}

TEST_P(Nmi, AStepExecutesTheInstructionAndLeavesInterruptsPending) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  ASSERT_EQ(machine.registers(k1)->rip, guest->at("work_middle").value);
  ASSERT_OK(machine.inject_nmi(k1));
  ASSERT_OK(machine.step(k1));
  EXPECT_EQ(machine.registers(k1)->rip, guest->at("work_load").value);
  ASSERT_OK(machine.step(k1));
  EXPECT_EQ(machine.registers(k1)->rip, guest->at("work_test").value);
  EXPECT_EQ(guest->number("nmis", k1), 0U);
  guest->run_until([&] { return guest->number("nmis", k1) == 1; });
}

// A stop in the middle of an interrupt's delivery neither loses nor doubles it.
TEST_P(Nmi, NoInterruptIsLostWhereverTheMachineIsStopped) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  guest->obey(k1, Command::kInterruptsOn);
  const unsigned trials = std::min(GetParam().many_restores, 300U);
  for (std::uint64_t trial = 1; trial <= trials; ++trial) {
    ASSERT_OK(machine.inject_nmi(k1));
    guest->command(k0, Command::kFixedTo1);
    for (int stop = 0; stop < 3; ++stop) {
      ASSERT_OK(machine.resume());
      guest->pause();
    }
    guest->run_until([&] { return guest->number("nmis", k1) >= trial && guest->number("irqs", k1) >= trial; });
    ASSERT_FALSE(HasFailure()) << trial;
    ASSERT_EQ(guest->number("nmis", k1), trial);
    ASSERT_EQ(guest->number("irqs", k1), trial);
  }
}

PANICROOM_ON_EVERY_ENGINE(Nmi);

class MachineChecks : public Conformance {};

TEST_P(MachineChecks, AMachineCheckReachesItsVcpuWithItsStatus) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kMce);
  auto& machine = guest->machine();
  guest->command(k1, Command::kMachineChecksOn);
  ASSERT_TRUE(guest->run_to("work", k1));
  machine.set_held(k1, true);
  ASSERT_OK(machine.inject_mce(k1, {}));
  const auto count = guest->number("counters", k0);
  guest->run_until([&] { return guest->number("counters", k0) > count + 1000; });
  EXPECT_EQ(guest->number("machine_checks", k1), 0U) << "it is held";
  machine.set_held(k1, false);
  guest->run_until([&] { return guest->number("machine_checks", k1) > 0; });
  EXPECT_EQ(guest->number("machine_check_status", k1), MachineCheck{}.status);
  EXPECT_EQ(guest->number("machine_checks", k1), 1U);
  EXPECT_EQ(guest->number("machine_checks", k0), 0U);
}

TEST_P(MachineChecks, AMachineCheckWakesAHaltedVcpu) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kMce);
  guest->command(k1, Command::kMachineChecksOn);
  ASSERT_TRUE(guest->run_to("work", k1));
  guest->command(k1, Command::kHalt);
  guest->run_until([&] { return *machine.halted(k1); });
  ASSERT_OK(machine.inject_mce(k1, {}));
  ASSERT_TRUE(guest->run_to("after_halt", k1));
  EXPECT_EQ(guest->number("machine_checks", k1), 1U);
}

TEST_P(MachineChecks, ACorrectedErrorInterruptsNobody) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kMce);
  auto& machine = guest->machine();
  guest->command(k1, Command::kMachineChecksOn);
  ASSERT_TRUE(guest->run_to("work", k1));
  ASSERT_OK(machine.inject_mce(k1, {.bank = 1, .status = 1ull << 63}));
  const auto count = guest->number("counters", k1);
  guest->run_until([&] { return guest->number("counters", k1) > count + 1000; });
  EXPECT_EQ(guest->number("machine_checks", k1), 0U);
}

TEST_P(MachineChecks, ARestoreTakesThemBack) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kMce);
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  guest->command(k1, Command::kMachineChecksOn);
  ASSERT_TRUE(guest->run_to("work", k1));
  ASSERT_OK(machine.snapshot("before"));
  ASSERT_OK(machine.inject_mce(k1, {}));
  ASSERT_OK(machine.restore("before"));
  const auto count = guest->number("counters", k1);
  guest->run_until([&] { return guest->number("counters", k1) > count + 1000; });
  EXPECT_EQ(guest->number("machine_checks", k1), 0U);
  // Else it would be one that follows another: bit 62 of the status would say so.
  ASSERT_OK(machine.inject_mce(k1, {}));
  guest->run_until([&] { return guest->number("machine_checks", k1) > 0; });
  EXPECT_EQ(guest->number("machine_check_status", k1), MachineCheck{}.status);
}

TEST_P(MachineChecks, ABankThatTheVcpuLacksIsRefused) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kMce);
  const auto injected = guest->machine().inject_mce(k1, {.bank = kMaxMceBank, .status = 1ull << 63});
  ASSERT_FALSE(injected);
  EXPECT_EQ(injected.error().kind(), ErrorKind::kInvalidInput) << injected.error().message();
}

// What the processor does without CR4.MCE: it shuts down.
TEST_P(MachineChecks, AMachineCheckThatTheGuestDoesNotTakeIsAReset) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kMce);
  ASSERT_OK(guest->machine().inject_mce(k1, {}));
  const auto event = guest->run();
  ASSERT_EVENT(GuestReset, event);
}

PANICROOM_ON_EVERY_ENGINE(MachineChecks);

}  // namespace
}  // namespace panicroom::hypervisor
