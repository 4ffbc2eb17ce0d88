#include <gtest/gtest.h>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

class Ends : public Conformance {};

struct End {
  const char* name;
  Command command;
  VcpuId vcpu;
  bool hold_boot_vcpu;
};
constexpr End kEnds[] = {{"a reset", Command::kReset, k0, false},
                         {"a reset by another vCPU", Command::kReset, k1, false},
                         {"a reset while the boot vCPU is held", Command::kReset, k1, true},
                         {"a triple fault", Command::kTripleFault, k1, false}};

TEST_P(Ends, AResetIsReportedOnceAndASnapshotCanBeRestored) {
  for (const auto& end : kEnds) {
    SCOPED_TRACE(end.name);
    auto guest = at_work(2);
    ASSERT_NE(guest, nullptr);
    auto& machine = guest->machine();
    NEEDS_CAPABILITY(machine, Capability::kSnapshot);
    machine.set_held(k0, end.hold_boot_vcpu);
    ASSERT_OK(machine.snapshot("armed"));
    const auto armed = guest->number("counters", end.vcpu);
    for (int trial = 0; trial < 2; ++trial) {
      const auto passes = guest->number("counters", end.vcpu);
      guest->command(end.vcpu, end.command);
      auto event = guest->run();
      ASSERT_EVENT(GuestReset, event);
      // Not one instruction after it: the vCPU had one pass of its loop before it took the command up, at most.
      EXPECT_LE(guest->number("counters", end.vcpu), passes + 1);
      // And it is not reported again.
      event = machine.next_event(Clock::now());
      ASSERT_EVENT(DeadlinePassed, event);
      ASSERT_OK(machine.restore("armed"));
      EXPECT_EQ(guest->number("counters", end.vcpu), armed);
      guest->work({k1});
    }
  }
}

// Which begins at the reset vector then, and not with a startup as the others do (SDM Vol. 3, 9.4.3).
TEST_P(Ends, AnInitOfTheBootVcpuIsAReset) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  NEEDS_CAPABILITY(guest->machine(), Capability::kSnapshot);
  ASSERT_OK(guest->machine().snapshot("armed"));
  for (const auto sender : {k0, k1}) {
    guest->send_ipi(sender, 0x00000000, 0x4500);
    const auto event = guest->run();
    ASSERT_EVENT(GuestReset, event);
    ASSERT_OK(guest->machine().restore("armed"));
    guest->work({k0, k1});
  }
}

TEST_P(Ends, PoweringItselfOffIsTheGuestsLastEvent) {
  for (const bool held : {false, true}) {
    auto guest = at_work(2);
    ASSERT_NE(guest, nullptr);
    auto& machine = guest->machine();
    NEEDS_CAPABILITY(machine, Capability::kSnapshot);
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
TEST_P(Ends, AResetInASteppedOverInstructionIsReported) {
  auto guest = at_work(2);
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
}

PANICROOM_ON_EVERY_ENGINE(Ends);

}  // namespace
}  // namespace panicroom::hypervisor
