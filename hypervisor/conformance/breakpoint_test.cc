#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

class Breakpoints : public Conformance {};

constexpr int kFarTooManyHits = 20'000;

// The guest counts its passes itself, so a hit too many or too few shows.
TEST_P(Breakpoints, EachPassOfEachVcpuIsReportedExactlyOnce) {
  auto guest = at_work(3);
  ASSERT_NE(guest, nullptr);
  const auto id = guest->machine().add_breakpoint(guest->at("work_middle"), {});
  ASSERT_OK(id);
  std::map<VcpuId, std::uint64_t> last;
  std::map<VcpuId, int> hits;
  // None may starve, but how the host shares out its CPUs is its own affair.
  const auto all_had_turns = [&] {
    const std::array vcpus{k0, k1, k2};
    return std::all_of(vcpus.begin(), vcpus.end(), [&](VcpuId vcpu) { return hits[vcpu] > 10; });
  };
  for (int i = 0; i < 300 || !all_had_turns(); ++i) {
    ASSERT_LT(i, kFarTooManyHits) << "a vCPU starves";
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    const auto& hit = std::get<BreakpointHit>(event);
    ASSERT_EQ(hit.id, *id);
    const auto registers = guest->machine().registers(hit.vcpu);
    ASSERT_OK(registers);
    ASSERT_EQ(registers->rip, guest->at("work_middle").value);
    const auto count = guest->number("counters", hit.vcpu);
    if (hits[hit.vcpu]++ > 0) {
      ASSERT_EQ(count, last[hit.vcpu] + 1) << "vCPU " << index(hit.vcpu) << ", hit " << i;
    }
    last[hit.vcpu] = count;
  }
}

// Who steps on past it has to know.
TEST_P(Breakpoints, OneThatAStepCameToIsReportedBeforeAnythingRuns) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  ASSERT_TRUE(guest->run_to("work_middle", k1));
  const auto of_k0 = machine.add_breakpoint(guest->at("work_load"), {k0});
  ASSERT_OK(of_k0);
  const auto id = machine.add_breakpoint(guest->at("work_test"), {k1});
  ASSERT_OK(id);
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; machine.registers(k1)->rip != guest->at("work_test").value; ++i) {
      ASSERT_LT(i, 10);
      const auto waits = machine.has_hit_to_report(k1);
      ASSERT_OK(waits);
      EXPECT_FALSE(*waits);
      ASSERT_OK(machine.step(k1));
    }
    for (int i = 0; i < 2; ++i) {
      const auto waits = machine.has_hit_to_report(k1);
      ASSERT_OK(waits);
      EXPECT_TRUE(*waits) << "asking changes nothing";
    }
    const auto others = machine.registers(k0);
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    EXPECT_EQ(std::get<BreakpointHit>(event).id, *id);
    EXPECT_EQ(std::get<BreakpointHit>(event).vcpu, k1);
    EXPECT_EQ(*machine.registers(k0), *others);
    EXPECT_FALSE(*machine.has_hit_to_report(k1)) << "it has been given out";
    ASSERT_OK(machine.step(k1));
    EXPECT_NE(machine.registers(k1)->rip, guest->at("work_test").value);
  }
}

TEST_P(Breakpoints, ABreakpointOfOneVcpuIsPassedSilentlyByTheOthers) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().add_breakpoint(guest->at("work_middle"), {k1}));
  const auto others_before = guest->number("counters", k0);
  std::uint64_t last = 0;
  for (int i = 0; i < 100 || guest->number("counters", k0) <= others_before + 50; ++i) {
    ASSERT_LT(i, kFarTooManyHits) << "the other vCPU starves";
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    ASSERT_EQ(std::get<BreakpointHit>(event).vcpu, k1);
    const auto registers = guest->machine().registers(k1);
    ASSERT_OK(registers);
    ASSERT_EQ(registers->rip, guest->at("work_middle").value);
    const auto count = guest->number("counters", k1);
    if (i > 0) {
      ASSERT_EQ(count, last + 1);
    }
    last = count;
  }
}

TEST_P(Breakpoints, BreakpointsThatShareAnAddressAreReportedEachInOrder) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  const auto first = machine.add_breakpoint(guest->at("work_middle"), {k1});
  const auto second = machine.add_breakpoint(guest->at("work_middle"), {k0, k1});
  const auto third = machine.add_breakpoint(guest->at("work_middle"), {k1});
  ASSERT_OK(third);
  machine.set_held(k0, true);
  for (int pass = 0; pass < 3; ++pass) {
    for (const auto& id : {first, second, third}) {
      const auto event = guest->run();
      ASSERT_EVENT(BreakpointHit, event);
      EXPECT_EQ(std::get<BreakpointHit>(event).id, *id);
    }
  }
  const auto count = guest->number("counters", k1);
  auto event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  EXPECT_EQ(guest->number("counters", k1), count + 1);
  // What is removed is not reported any more, not for the present pass either.
  ASSERT_OK(machine.remove_breakpoint(*second));
  event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  EXPECT_EQ(std::get<BreakpointHit>(event).id, *third);
  EXPECT_EQ(machine.remove_breakpoint(*second).error().kind(), ErrorKind::kInvalidInput);
}

TEST_P(Breakpoints, AnNmiAtABreakpointDoesNotReportItTwice) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().add_breakpoint(guest->at("work_middle"), {k1}));
  std::uint64_t last = 0;
  for (int i = 0; i < 30; ++i) {
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    const auto count = guest->number("counters", k1);
    if (i > 0) {
      ASSERT_EQ(count, last + 1);
    }
    last = count;
    ASSERT_EQ(guest->number("nmis", k1), static_cast<std::uint64_t>(i));
    ASSERT_OK(guest->machine().inject_nmi(k1));
  }
}

TEST_P(Breakpoints, AnInstructionThatFaultsFirstIsOnePass) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  const auto id = guest->machine().add_breakpoint(guest->at("faulting_load"), {});
  for (std::uint64_t pass = 0; pass < 3; ++pass) {
    guest->command(k1, Command::kPageFault);
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    EXPECT_EQ(std::get<BreakpointHit>(event).id, *id);
    EXPECT_EQ(guest->number("faults", k1), pass);
    // No second hit on the way.
    ASSERT_TRUE(guest->run_to("work", k1));
    EXPECT_EQ(guest->number("faults", k1), pass + 1);
  }
}

TEST_P(Breakpoints, AnInstructionThatTheHandlerSkipsIsReportedAtTheNextPass) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  const auto id = guest->machine().add_breakpoint(guest->at("undefined_instruction"), {k1});
  for (int pass = 0; pass < 3; ++pass) {
    guest->command(k1, Command::kUndefined);
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    EXPECT_EQ(std::get<BreakpointHit>(event).id, *id);
    ASSERT_TRUE(guest->run_to("work", k1));
  }
}

TEST_P(Breakpoints, ARepeatedInstructionIsOnePass) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  const auto id = guest->machine().add_breakpoint(guest->at("repeated_store"), {});
  for (int pass = 0; pass < 2; ++pass) {
    guest->command(k1, Command::kRepeat);
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    EXPECT_EQ(std::get<BreakpointHit>(event).id, *id);
    ASSERT_TRUE(guest->run_to("work", k1));
    EXPECT_EQ(guest->machine().registers(k1)->rcx, 0U);
  }
}

TEST_P(Breakpoints, ABreakpointOnHltIsPassedAndTheVcpuWaits) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().add_breakpoint(guest->at("halt_instruction"), {k1}));
  guest->command(k1, Command::kHalt);
  auto event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  EXPECT_FALSE(*guest->machine().halted(k1));
  guest->run_until([&] { return *guest->machine().halted(k1); });
  EXPECT_EQ(guest->machine().registers(k1)->rip, guest->at("after_halt").value);
}

PANICROOM_ON_EVERY_ENGINE(Breakpoints);

}  // namespace
}  // namespace panicroom::hypervisor
