#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

using namespace std::chrono_literals;

class Running : public Conformance {};

TEST_P(Running, RunsFromTheFirstInstructionAndReportsWhatTheGuestWrites) {
  auto guest = create(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  EXPECT_TRUE(machine.engine().starts_with(GetParam().name)) << machine.engine();
  EXPECT_EQ(machine.vcpus(), 2U);
  ASSERT_TRUE(guest->run_to("hello", k0));
  const auto registers = machine.registers(k0);
  ASSERT_OK(registers);
  EXPECT_EQ(registers->rip, guest->at("hello").value);
  EXPECT_EQ(guest->console, "");
  const auto before = guest->agent;  // What a firmware may have written.
  ASSERT_TRUE(guest->run_to("work", k0));
  guest->pause();  // What was written before the last stop has been reported now.
  EXPECT_EQ(guest->console, "B");
  EXPECT_EQ(guest->agent, before + "A");
}

TEST_P(Running, AHeldVcpuExecutesNothing) {
  auto guest = at_work(3);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  machine.set_held(k1, true);
  EXPECT_TRUE(machine.held(k1));
  const auto before = machine.registers(k1);
  const auto held_count = guest->number("counters", k1);
  const auto count0 = guest->number("counters", k0);
  const auto count2 = guest->number("counters", k2);
  guest->run_until(
      [&] { return guest->number("counters", k0) > count0 + 1000 && guest->number("counters", k2) > count2 + 1000; });
  EXPECT_EQ(guest->number("counters", k1), held_count);
  EXPECT_EQ(*machine.registers(k1), *before);

  machine.set_held(k1, false);
  guest->run_until([&] { return guest->number("counters", k1) > held_count + 1000; });
  for (const auto vcpu : {k0, k1, k2}) machine.set_held(vcpu, true);
  EXPECT_FALSE(machine.resume()) << "nothing could ever stop it";
}

TEST_P(Running, WhatNeedsAStopIsRefusedWhileItRuns) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  ASSERT_OK(machine.resume());
  EXPECT_FALSE(machine.registers(k0));
  EXPECT_FALSE(machine.step(k0));
  EXPECT_FALSE(machine.inject_nmi(k0));
  EXPECT_FALSE(machine.inject_mce(k0, {}));
  EXPECT_FALSE(machine.add_breakpoint(Gva{1}, {}));
  EXPECT_FALSE(machine.snapshot("x"));
  EXPECT_FALSE(machine.resume());
  const auto passed = machine.next_event(Clock::now());
  EXPECT_TRUE(std::holds_alternative<DeadlinePassed>(passed)) << describe(passed);
  guest->pause();
  EXPECT_TRUE(machine.registers(k0));
  // A pause of what stands still takes effect at once.
  guest->pause();
}

TEST_P(Running, CancelEndsTheWaitFromAnotherThreadAndTheNextOne) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().resume());
  std::thread other([&] { guest->machine().cancel(); });
  EXPECT_TRUE(std::holds_alternative<Cancelled>(guest->next()));
  other.join();
  guest->machine().cancel();
  EXPECT_TRUE(std::holds_alternative<Cancelled>(guest->next()));
  guest->pause();
}

TEST_P(Running, OutputBeforeAStopIsNotLost) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().add_breakpoint(guest->at("write_done"), {k1}));
  for (int pass = 1; pass <= 3; ++pass) {
    guest->console.clear();
    guest->agent.clear();
    guest->command(k1, Command::kWrite);
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    // The rest, if there is any, comes before the next event of the machine.
    guest->machine().set_held(k1, true);
    ASSERT_OK(guest->machine().resume());
    guest->pause();
    guest->machine().set_held(k1, false);
    EXPECT_EQ(std::count(guest->console.begin(), guest->console.end(), 'c'), 3000);
    EXPECT_EQ(std::count(guest->agent.begin(), guest->agent.end(), 'a'), 100000);
  }
}

TEST_P(Running, AGuestThatNeverStopsWritingCannotHoldOffADeadlineOrAPause) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  guest->command(k1, Command::kWriteForever);
  guest->run_until([&] { return guest->agent.ends_with('x'); });
  ASSERT_OK(guest->machine().resume());
  const auto deadline = Clock::now() + 200ms;
  bool passed = false;
  // Each call takes output of some kilobytes; without an end this would go on for ever.
  for (int i = 0; i < 1'000'000 && !passed; ++i) {
    passed = std::holds_alternative<DeadlinePassed>(guest->machine().next_event(deadline));
  }
  EXPECT_TRUE(passed);
  guest->pause();
}

PANICROOM_ON_EVERY_ENGINE(Running);

}  // namespace
}  // namespace panicroom::hypervisor
