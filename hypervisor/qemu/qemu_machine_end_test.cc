#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "hypervisor/qemu/machine_assertions.h"
#include "hypervisor/qemu/qemu_machine.h"
#include "hypervisor/qemu/test_guest.h"

namespace panicroom::qemu {
namespace {

using namespace std::chrono_literals;
using hypervisor::BreakpointHit;
using hypervisor::Clock;
using hypervisor::GuestReset;
using hypervisor::GuestShutdown;
using hypervisor::MachineLost;
using ::testing::HasSubstr;

constexpr VcpuId k0{0};
constexpr VcpuId k1{1};

// --- By itself

struct End {
  const char* name;
  Command command;
  VcpuId vcpu;
  bool hold_boot_vcpu;
};
class QemuMachineEnds : public ::testing::TestWithParam<End> {};

TEST_P(QemuMachineEnds, AreReportedOnceAndASnapshotCanBeRestored) {
  const auto& end = GetParam();
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  machine.set_held(k0, end.hold_boot_vcpu);
  ASSERT_OK(machine.snapshot("armed"));
  for (int trial = 0; trial < 2; ++trial) {
    guest->command(end.vcpu, end.command);
    const auto event = guest->run();
    ASSERT_EVENT(GuestReset, event);
    // Not one instruction after it.
    EXPECT_EQ(machine.registers(k0)->rip, 0xfff0U);
    ASSERT_OK(machine.restore("armed"));
    const auto count = guest->number("counters", k1);
    guest->run_until([&] { return guest->number("counters", k1) > count + 1000; });
  }
  // And without a snapshot it boots again.
  guest->command(end.vcpu, end.command);
  auto event = guest->run();
  ASSERT_TRUE(stops(event));
  machine.set_held(k0, false);
  const auto id = machine.add_breakpoint(guest->at("hello"), {});
  ASSERT_OK(id);
  event = guest->run();
  // SeaBIOS finds that it has run before, and resets once more.
  if (std::holds_alternative<GuestReset>(event)) event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
}

INSTANTIATE_TEST_SUITE_P(All, QemuMachineEnds,
                         ::testing::Values(End{"Reset", Command::kReset, k0, false},
                                           End{"ResetByAnotherVcpu", Command::kReset, k1, false},
                                           End{"ResetWhileTheBootVcpuIsHeld", Command::kReset, k1, true},
                                           End{"TripleFault", Command::kTripleFault, k1, false}),
                         [](const auto& end) { return end.param.name; });

TEST(QemuMachine, PoweringItselfOffIsTheGuestsLastEvent) {
  for (const bool held : {false, true}) {
    auto guest = TestGuest::at_work(2);
    ASSERT_NE(guest, nullptr);
    auto& machine = guest->machine();
    machine.set_held(k0, held);
    ASSERT_OK(machine.snapshot("armed"));
    guest->command(k1, Command::kPowerOff);
    const auto event = guest->run();
    ASSERT_EVENT(GuestShutdown, event);
    EXPECT_FALSE(machine.restore("armed"));
    EXPECT_FALSE(machine.resume());
    ASSERT_OK(machine.destroy());
  }
}

// The store that resets, itself under a breakpoint, is executed by the engine's own step.
TEST(QemuMachine, AResetInASteppedOverInstructionIsReported) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  guest->command(k1, Command::kTripleFault);
  ASSERT_EQ(guest->machine().registers(k1)->rip, guest->at("work_middle").value);
  bool reset = false;
  for (int i = 0; i < 20 && !reset; ++i) {
    ASSERT_OK(guest->machine().step(k1));
    const auto event = guest->machine().next_event(Clock::now());
    reset = std::holds_alternative<GuestReset>(event);
  }
  EXPECT_TRUE(reset);
  EXPECT_EQ(guest->machine().registers(k0)->rip, 0xfff0U);
}

// --- Lost

TEST(QemuMachineLoss, AKilledQemuIsALossAndNotAHang) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().resume());
  ::kill(guest->machine().pid(), SIGKILL);
  auto event = guest->next();
  ASSERT_EVENT(MachineLost, event);
  EXPECT_THAT(std::get<MachineLost>(event).reason.message(), HasSubstr("QEMU died"));
  EXPECT_FALSE(guest->machine().registers(k0));
  EXPECT_FALSE(guest->machine().resume());
  EXPECT_FALSE(guest->machine().snapshot("x"));
  event = guest->next();
  ASSERT_EVENT(MachineLost, event);
}

TEST(QemuMachineLoss, AQemuKilledWhileStoppedIsNoticedToo) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  ::kill(guest->machine().pid(), SIGKILL);
  const auto event = guest->next();
  ASSERT_EVENT(MachineLost, event);
}

TEST(QemuMachineLoss, AQemuThatDoesNotStopIsALossWithinItsPatience) {
  QemuOptions options;
  options.patience = 500ms;
  auto guest = TestGuest::at_work(2, options);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().resume());
  ::kill(guest->machine().pid(), SIGSTOP);
  ASSERT_OK(guest->machine().pause());
  const auto event = guest->next();
  ASSERT_EVENT(MachineLost, event);
  EXPECT_THAT(std::get<MachineLost>(event).reason.message(), HasSubstr("hangs"));
}

TEST(QemuMachineLoss, AQemuThatDoesNotAnswerIsALossWithinItsPatience) {
  QemuOptions options;
  options.patience = 500ms;
  options.snapshot_patience = 500ms;
  for (const bool monitor : {false, true}) {
    auto guest = TestGuest::at_work(2, options);
    ASSERT_NE(guest, nullptr);
    ::kill(guest->machine().pid(), SIGSTOP);
    if (monitor) {
      EXPECT_FALSE(guest->machine().snapshot("x"));
    } else {
      EXPECT_FALSE(guest->machine().registers(k0));
    }
    const auto event = guest->next();
    ASSERT_EVENT(MachineLost, event);
  }
}

TEST(QemuMachineLoss, SeveralMachinesLiveAndDieByThemselves) {
  auto first = TestGuest::at_work(2);
  auto second = TestGuest::at_work(2);
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  ASSERT_OK(first->machine().resume());
  ASSERT_OK(second->machine().resume());
  ::kill(first->machine().pid(), SIGKILL);
  const auto event = first->next();
  ASSERT_EVENT(MachineLost, event);
  first.reset();
  second->pause();
  const auto count = second->number("counters", k1);
  second->run_until([&] { return second->number("counters", k1) > count + 1000; });
}

}  // namespace
}  // namespace panicroom::qemu
