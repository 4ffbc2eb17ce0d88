#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "hypervisor/conformance/machine_assertions.h"
#include "hypervisor/qemu/engine_for_test.h"

namespace panicroom::qemu {
namespace {

using namespace std::chrono_literals;
using hypervisor::BreakpointHit;
using hypervisor::Command;
using hypervisor::GuestReset;
using hypervisor::MachineLost;
using hypervisor::TestGuest;
using ::testing::HasSubstr;

constexpr VcpuId k0{0};
constexpr VcpuId k1{1};

// A reset machine boots again: it need not be restored.
TEST(QemuMachine, AfterAResetItStandsAtTheResetVectorAndBootsAgain) {
  for (const bool hold_boot_vcpu : {false, true}) {
    auto guest = TestGuest::at_work(engine_for_test(), 2);
    ASSERT_NE(guest, nullptr);
    auto& machine = guest->machine();
    machine.set_held(k0, hold_boot_vcpu);
    guest->command(k1, Command::kReset);
    auto event = guest->run();
    ASSERT_EVENT(GuestReset, event);
    // Not one instruction after it.
    EXPECT_EQ(machine.registers(k0)->rip, 0xfff0U);
    machine.set_held(k0, false);
    const auto id = machine.add_breakpoint(guest->at("hello"), {});
    ASSERT_OK(id);
    event = guest->run();
    // SeaBIOS finds that it has run before, and resets once more.
    if (std::holds_alternative<GuestReset>(event)) event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
  }
}

// --- Lost

TEST(QemuMachineLoss, AKilledQemuIsALossAndNotAHang) {
  auto guest = TestGuest::at_work(engine_for_test(), 2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().resume());
  ::kill(process_of(*guest), SIGKILL);
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
  auto guest = TestGuest::at_work(engine_for_test(), 2);
  ASSERT_NE(guest, nullptr);
  ::kill(process_of(*guest), SIGKILL);
  const auto event = guest->next();
  ASSERT_EVENT(MachineLost, event);
}

TEST(QemuMachineLoss, AQemuThatDoesNotStopIsALossWithinItsPatience) {
  QemuOptions options;
  options.patience = 500ms;
  auto guest = TestGuest::at_work(engine_for_test(options), 2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().resume());
  ::kill(process_of(*guest), SIGSTOP);
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
    auto guest = TestGuest::at_work(engine_for_test(options), 2);
    ASSERT_NE(guest, nullptr);
    ::kill(process_of(*guest), SIGSTOP);
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
  auto first = TestGuest::at_work(engine_for_test(), 2);
  auto second = TestGuest::at_work(engine_for_test(), 2);
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  ASSERT_OK(first->machine().resume());
  ASSERT_OK(second->machine().resume());
  ::kill(process_of(*first), SIGKILL);
  const auto event = first->next();
  ASSERT_EVENT(MachineLost, event);
  first.reset();
  second->pause();
  const auto count = second->number("counters", k1);
  second->run_until([&] { return second->number("counters", k1) > count + 1000; });
}

}  // namespace
}  // namespace panicroom::qemu
