#include "hypervisor/qemu/qemu_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "hypervisor/qemu/machine_assertions.h"
#include "hypervisor/qemu/test_guest.h"

namespace panicroom::qemu {
namespace {

using namespace std::chrono_literals;
using hypervisor::BreakpointHit;
using hypervisor::Clock;

constexpr VcpuId k0{0};
constexpr VcpuId k1{1};
constexpr VcpuId k2{2};

TEST(QemuMachine, RunsFromTheFirstInstructionAndReportsWhatTheGuestWrites) {
  auto guest = TestGuest::create(2);
  ASSERT_NE(guest, nullptr);
  auto registers = guest->machine().registers(k0);
  ASSERT_OK(registers);
  EXPECT_EQ(registers->rip, 0xfff0U);
  EXPECT_EQ(guest->machine().engine(), "qemu (tcg)");

  ASSERT_TRUE(guest->run_to("hello", k0));
  registers = guest->machine().registers(k0);
  ASSERT_OK(registers);
  EXPECT_EQ(registers->rip, guest->at("hello").value);
  EXPECT_EQ(guest->console, "");
  ASSERT_TRUE(guest->run_to("work", k0));
  guest->pause();  // What was written before the last stop has been reported now.
  EXPECT_EQ(guest->console, "B");
  EXPECT_TRUE(guest->agent.ends_with("\nA")) << guest->agent;
  EXPECT_EQ(std::count(guest->agent.begin(), guest->agent.end(), '\n'), 3) << "the firmware's banner, and no more";
}

// The guest counts its passes itself, so a hit too many or too few shows.
TEST(QemuMachine, EachPassOfEachVcpuIsReportedExactlyOnce) {
  auto guest = TestGuest::at_work(3);
  ASSERT_NE(guest, nullptr);
  const auto id = guest->machine().add_breakpoint(guest->at("work_middle"), {});
  ASSERT_OK(id);
  std::map<VcpuId, std::uint64_t> last;
  std::map<VcpuId, int> hits;
  for (int i = 0; i < 300; ++i) {
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
  for (const auto vcpu : {k0, k1, k2}) EXPECT_GT(hits[vcpu], 10) << "vCPU " << index(vcpu) << " starves";
}

TEST(QemuMachine, ABreakpointOfOneVcpuIsPassedSilentlyByTheOthers) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().add_breakpoint(guest->at("work_middle"), {k1}));
  const auto others_before = guest->number("counters", k0);
  std::uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
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
  EXPECT_GT(guest->number("counters", k0), others_before + 50) << "the other vCPU starves";
}

TEST(QemuMachine, BreakpointsThatShareAnAddressAreReportedEachInOrder) {
  auto guest = TestGuest::at_work(2);
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

TEST(QemuMachine, AHeldVcpuExecutesNothing) {
  auto guest = TestGuest::at_work(3);
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

TEST(QemuMachine, AnNmiReachesItsVcpuOnlyWithInterruptsOff) {
  auto guest = TestGuest::at_work(3);
  ASSERT_NE(guest, nullptr);
  const auto registers = guest->machine().registers(k1);
  ASSERT_OK(registers);
  EXPECT_EQ(registers->rflags & hypervisor::kRflagsIf, 0U);
  ASSERT_OK(guest->machine().inject_nmi(k1));
  guest->run_until([&] { return guest->number("nmis", k1) > 0; });
  EXPECT_EQ(guest->number("nmis", k1), 1U);
  EXPECT_EQ(guest->number("nmis", k0), 0U);
  EXPECT_EQ(guest->number("nmis", k2), 0U);
}

TEST(QemuMachine, AnNmiWakesAHaltedVcpu) {
  auto guest = TestGuest::at_work(2);
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

TEST(QemuMachine, AnNmiStaysPendingForAHeldVcpu) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  guest->machine().set_held(k1, true);
  ASSERT_OK(guest->machine().inject_nmi(k1));
  const auto count = guest->number("counters", k0);
  guest->run_until([&] { return guest->number("counters", k0) > count + 1000; });
  EXPECT_EQ(guest->number("nmis", k1), 0U);
  guest->machine().set_held(k1, false);
  guest->run_until([&] { return guest->number("nmis", k1) > 0; });
}

TEST(QemuMachine, AnNmiAtABreakpointDoesNotReportItTwice) {
  auto guest = TestGuest::at_work(2);
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

TEST(QemuMachine, AMachineCheckReachesItsVcpuWithItsStatus) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  ASSERT_TRUE(machine.can(hypervisor::Capability::kMce));
  guest->command(k1, Command::kMachineChecksOn);
  ASSERT_TRUE(guest->run_to("work", k1));
  machine.set_held(k1, true);
  ASSERT_OK(machine.inject_mce(k1, {}));
  const auto count = guest->number("counters", k0);
  guest->run_until([&] { return guest->number("counters", k0) > count + 1000; });
  EXPECT_EQ(guest->number("machine_checks", k1), 0U) << "it is held";
  machine.set_held(k1, false);
  guest->run_until([&] { return guest->number("machine_checks", k1) > 0; });
  EXPECT_EQ(guest->number("machine_check_status", k1), hypervisor::MachineCheck{}.status);
  EXPECT_EQ(guest->number("machine_checks", k1), 1U);
  EXPECT_EQ(guest->number("machine_checks", k0), 0U);
}

TEST(QemuMachine, ACorrectedErrorInterruptsNobody) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  guest->command(k1, Command::kMachineChecksOn);
  ASSERT_TRUE(guest->run_to("work", k1));
  ASSERT_OK(machine.inject_mce(k1, {.bank = 1, .status = 1ull << 63}));
  const auto count = guest->number("counters", k1);
  guest->run_until([&] { return guest->number("counters", k1) > count + 1000; });
  EXPECT_EQ(guest->number("machine_checks", k1), 0U);
}

TEST(QemuMachine, ABankThatTheVcpuLacksIsRefused) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  const auto injected = guest->machine().inject_mce(k1, {.bank = hypervisor::kMaxMceBank, .status = 1ull << 63});
  ASSERT_FALSE(injected);
  EXPECT_EQ(injected.error().kind(), ErrorKind::kInvalidInput) << injected.error().message();
}

// What the processor does without CR4.MCE: it shuts down.
TEST(QemuMachine, AMachineCheckThatTheGuestDoesNotTakeIsAReset) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().inject_mce(k1, {}));
  const auto event = guest->run();
  ASSERT_EVENT(hypervisor::GuestReset, event);
}

TEST(QemuMachine, AnInstructionThatFaultsFirstIsOnePass) {
  auto guest = TestGuest::at_work(2);
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

TEST(QemuMachine, AnInstructionThatTheHandlerSkipsIsReportedAtTheNextPass) {
  auto guest = TestGuest::at_work(2);
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

TEST(QemuMachine, ARepeatedInstructionIsOnePass) {
  auto guest = TestGuest::at_work(2);
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

TEST(QemuMachine, ABreakpointOnHltIsPassedAndTheVcpuWaits) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().add_breakpoint(guest->at("halt_instruction"), {k1}));
  guest->command(k1, Command::kHalt);
  auto event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  EXPECT_FALSE(*guest->machine().halted(k1));
  ASSERT_OK(guest->machine().resume());
  guest->pause();
  EXPECT_TRUE(*guest->machine().halted(k1));
  EXPECT_EQ(guest->machine().registers(k1)->rip, guest->at("after_halt").value);
}

TEST(QemuMachine, StepsOneInstructionOfAHeldVcpuAndNothingElse) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  machine.set_held(k1, true);
  ASSERT_EQ(machine.registers(k1)->rip, guest->at("work_middle").value);
  const auto other = machine.registers(k0);
  ASSERT_OK(machine.step(k1));
  EXPECT_EQ(machine.registers(k1)->rip, guest->at("work_middle").value + 1);
  EXPECT_EQ(*machine.registers(k0), *other);
}

TEST(QemuMachine, WritesRegistersAndMovesAVcpu) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  auto registers = machine.registers(k1);
  ASSERT_OK(registers);
  auto changed = *registers;
  changed.r12 = 0x1122334455667788;
  changed.rip = guest->at("interrupts_on").value;
  ASSERT_OK(machine.set_registers(k1, changed));
  EXPECT_EQ(*machine.registers(k1), changed);
  // It was moved onto a breakpoint, and has not executed it.
  ASSERT_OK(machine.add_breakpoint(guest->at("interrupts_on"), {k1}));
  const auto event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  EXPECT_EQ(machine.registers(k1)->r12, 0x1122334455667788U);
}

TEST(QemuMachine, MemoryIsReadThroughTheVcpusPageTablesAndBoundsAreKept) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  std::array<std::byte, 16> bytes{};
  EXPECT_EQ(machine.read_memory(k0, Gva{0xffff800000000000}, bytes).error().kind(), ErrorKind::kInvalidInput);
  EXPECT_EQ(machine.write_memory(k0, Gva{0xffff800000000000}, bytes).error().kind(), ErrorKind::kInvalidInput);
  // The fixmap window of the guest ends with the APIC's page.
  EXPECT_EQ(machine.read_memory(k0, Gva{0xffffffffff5ffff8}, bytes).error().kind(), ErrorKind::kInvalidInput);
  ASSERT_OK(machine.write_memory(k1, guest->at("scratch"), as_bytes("sixteen bytes...")));
  ASSERT_OK(machine.read_physical(Gpa{guest->at("scratch").value}, bytes));
  EXPECT_EQ(as_text(bytes), "sixteen bytes...");
  ASSERT_OK(machine.write_physical(Gpa{guest->at("scratch").value}, as_bytes("S")));
  ASSERT_OK(machine.read_memory(k1, guest->at("scratch"), bytes));
  EXPECT_EQ(as_text(bytes), "Sixteen bytes...");
  EXPECT_EQ(machine.read_physical(Gpa{(64U << 20) - 8}, bytes).error().kind(), ErrorKind::kInvalidInput);
  EXPECT_EQ(machine.read_physical(Gpa{0xfffffffffffffff8}, bytes).error().kind(), ErrorKind::kInvalidInput);
  EXPECT_EQ(machine.registers(VcpuId{2}).error().kind(), ErrorKind::kInvalidInput);
}

class PhysicalMemory : public ::testing::TestWithParam<bool> {};

// Much memory comes another way than little does where QEMU's may not be looked into.
TEST_P(PhysicalMemory, ReadsAsTheSameInPieces) {
  QemuOptions options;
  options.look_into_qemu = GetParam();
  auto guest = TestGuest::at_work(2, options);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  constexpr std::uint64_t kBegin = 0x100000;
  std::vector<std::byte> whole(std::size_t{1} << 20);
  ASSERT_OK(machine.read_physical(Gpa{kBegin + 3}, whole));
  std::vector<std::byte> pieces(whole.size());
  constexpr std::size_t kPiece = std::size_t{16} * 1024;
  for (std::size_t at = 0; at < pieces.size(); at += kPiece) {
    ASSERT_OK(machine.read_physical(Gpa{kBegin + 3 + at}, std::span(pieces).subspan(at, kPiece)));
  }
  EXPECT_EQ(whole, pieces);
  std::array<std::byte, 16> scratch{};
  ASSERT_OK(machine.write_memory(k0, guest->at("scratch"), as_bytes("sixteen bytes...")));
  ASSERT_OK(machine.read_physical(Gpa{guest->at("scratch").value}, scratch));
  EXPECT_EQ(as_text(scratch), "sixteen bytes...");
  // The firmware's ROM, by its last bytes: the hole below 1 MiB is not what the RAM behind it is.
  std::array<std::byte, 8> date{};
  ASSERT_OK(machine.read_physical(Gpa{0xffff5}, date));
  EXPECT_EQ(as_text(date)[2], '/') << "the BIOS date, mm/dd/yy";
  EXPECT_EQ(machine.read_physical(Gpa{(64U << 20) - 0x1000}, whole).error().kind(), ErrorKind::kInvalidInput);
}

INSTANTIATE_TEST_SUITE_P(QemuMachine, PhysicalMemory, ::testing::Bool(),
                         [](const auto& choice) { return std::string(choice.param ? "FromQemusOwn" : "AskedOfQemu"); });

TEST(QemuMachine, OutputBeforeAStopIsNotLost) {
  auto guest = TestGuest::at_work(2);
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

TEST(QemuMachine, AGuestThatNeverStopsWritingCannotHoldOffADeadlineOrAPause) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  guest->command(k1, Command::kWriteForever);
  guest->run_until([&] { return guest->agent.ends_with('x'); });
  ASSERT_OK(guest->machine().resume());
  const auto deadline = Clock::now() + 200ms;
  bool passed = false;
  // Each call takes output of some kilobytes; without an end this would go on for ever.
  for (int i = 0; i < 1'000'000 && !passed; ++i) {
    passed = std::holds_alternative<hypervisor::DeadlinePassed>(guest->machine().next_event(deadline));
  }
  EXPECT_TRUE(passed);
  guest->pause();
}

TEST(QemuMachine, CancelEndsTheWaitFromAnotherThreadAndTheNextOne) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_OK(guest->machine().resume());
  std::thread other([&] { guest->machine().cancel(); });
  EXPECT_TRUE(std::holds_alternative<hypervisor::Cancelled>(guest->next()));
  other.join();
  guest->machine().cancel();
  EXPECT_TRUE(std::holds_alternative<hypervisor::Cancelled>(guest->next()));
  guest->pause();
}

TEST(QemuMachine, WhatNeedsAStopIsRefusedWhileItRuns) {
  auto guest = TestGuest::at_work(2);
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
  EXPECT_TRUE(std::holds_alternative<hypervisor::DeadlinePassed>(passed)) << describe(passed);
  guest->pause();
  EXPECT_TRUE(machine.registers(k0));
  // A pause of what stands still takes effect at once.
  guest->pause();
}

TEST(QemuMachine, ASnapshotBringsBackVcpusAndMemoryAndLeavesTheRest) {
  auto guest = TestGuest::at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  const auto id = machine.add_breakpoint(guest->at("write_done"), {k1});
  machine.set_held(k0, true);
  const auto registers0 = machine.registers(k0);
  const auto registers1 = machine.registers(k1);
  const auto count = guest->number("counters", k1);
  ASSERT_OK(machine.snapshot("armed"));
  for (int trial = 0; trial < 3; ++trial) {
    guest->agent.clear();
    guest->command(k1, Command::kWrite);
    auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    EXPECT_EQ(std::get<BreakpointHit>(event).id, *id);
    ASSERT_OK(machine.restore("armed"));
    EXPECT_EQ(*machine.registers(k0), *registers0);
    EXPECT_EQ(*machine.registers(k1), *registers1);
    EXPECT_EQ(guest->number("counters", k1), count);
    EXPECT_TRUE(machine.held(k0));
    ASSERT_OK(machine.resume());
    guest->pause();
    EXPECT_EQ(std::count(guest->agent.begin(), guest->agent.end(), 'a'), 100000);
  }
  EXPECT_EQ(machine.restore("unarmed").error().kind(), ErrorKind::kInvalidInput);
  EXPECT_EQ(machine.snapshot("x y; quit").error().kind(), ErrorKind::kInvalidInput);
}

}  // namespace
}  // namespace panicroom::qemu
