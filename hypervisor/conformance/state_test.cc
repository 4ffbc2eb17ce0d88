#include <gtest/gtest.h>

#include <array>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

class State : public Conformance {};

TEST_P(State, StepsOneInstructionOfAHeldVcpuAndNothingElse) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  machine.set_held(k1, true);
  ASSERT_EQ(machine.registers(k1)->rip, guest->at("work_middle").value);
  const auto other = machine.registers(k0);
  ASSERT_OK(machine.step(k1));
  EXPECT_EQ(machine.registers(k1)->rip, guest->at("work_middle").value + 1);
  EXPECT_EQ(*machine.registers(k0), *other);
}

TEST_P(State, WritesRegistersAndMovesAVcpu) {
  auto guest = at_work(2);
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

TEST_P(State, MemoryIsReadThroughTheVcpusPageTablesAndBoundsAreKept) {
  auto guest = at_work(2);
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

TEST_P(State, StepsEachInstructionExactly) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  guest->command(k1, Command::kRow);
  ASSERT_TRUE(guest->run_to("row", k1));
  const auto row = guest->at("row");
  const auto others = machine.registers(k0);
  for (std::uint64_t done = 0; row + 3 * done < guest->at("row_end"); ++done) {
    const auto registers = machine.registers(k1);
    ASSERT_OK(registers);
    ASSERT_EQ(registers->rip, (row + 3 * done).value);
    ASSERT_EQ(registers->r8, done);
    ASSERT_OK(machine.step(k1));
  }
  EXPECT_EQ(machine.registers(k1)->rip, guest->at("row_end").value);
  // A jump, and the loop to its end and around.
  for (const char* next : {"work", "work_middle", "work_load", "work_test", "work_branch", "work"}) {
    ASSERT_OK(machine.step(k1));
    EXPECT_EQ(machine.registers(k1)->rip, guest->at(next).value) << next;
  }
  EXPECT_EQ(*machine.registers(k0), *others);
}

TEST_P(State, AStepOutOfAHandlerIsOneInstruction) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  ASSERT_OK(machine.inject_nmi(k1));
  ASSERT_TRUE(guest->run_to("nmi_return", k1));
  std::array<std::uint64_t, 3> frame{};  // RIP, CS, RFLAGS
  ASSERT_OK(machine.read_memory(k1, Gva{machine.registers(k1)->rsp}, std::as_writable_bytes(std::span(frame))));
  ASSERT_OK(machine.step(k1));
  EXPECT_EQ(machine.registers(k1)->rip, frame[0]);
  EXPECT_EQ(frame[2] & kRflagsTf, 0U);
}

// However an engine gets past a breakpoint, or makes a single step.
TEST_P(State, TheGuestNeverSeesItsTrapFlagSet) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  const auto id = machine.add_breakpoint(guest->at("push_flags"), {k1});
  ASSERT_OK(id);
  for (const bool stepped : {false, true}) {
    guest->command(k1, Command::kFlags);
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    if (stepped) {
      ASSERT_OK(machine.step(k1));
      EXPECT_EQ(machine.registers(k1)->rip, guest->at("flags_pushed").value);
      ASSERT_OK(machine.step(k1));
    }
    guest->work({k1}, 3);
    const auto registers = machine.registers(k1);
    ASSERT_OK(registers);
    EXPECT_EQ(registers->r9 & kRflagsTf, 0U);
    EXPECT_EQ(registers->rflags & kRflagsTf, 0U);
  }
  // An exception that comes between puts the flags on the handler's stack.
  ASSERT_OK(machine.add_breakpoint(guest->at("undefined_instruction"), {k1}));
  guest->command(k1, Command::kUndefined);
  const auto event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  ASSERT_TRUE(guest->run_to("undefined_handler", k1));
  std::array<std::uint64_t, 3> frame{};
  ASSERT_OK(machine.read_memory(k1, Gva{machine.registers(k1)->rsp}, std::as_writable_bytes(std::span(frame))));
  EXPECT_EQ(frame[0], guest->at("undefined_instruction").value);
  EXPECT_EQ(frame[2] & kRflagsTf, 0U);
}

TEST_P(State, PhysicalMemoryReadsAsTheSameInPieces) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  constexpr std::uint64_t kBegin = 0x100003;
  std::vector<std::byte> whole(std::size_t{1} << 20);
  ASSERT_OK(machine.read_physical(Gpa{kBegin}, whole));
  std::vector<std::byte> pieces(whole.size());
  constexpr std::size_t kPiece = std::size_t{16} * 1024;
  for (std::size_t at = 0; at < pieces.size(); at += kPiece) {
    ASSERT_OK(machine.read_physical(Gpa{kBegin + at}, std::span(pieces).subspan(at, kPiece)));
  }
  EXPECT_EQ(whole, pieces);
  EXPECT_EQ(machine.read_physical(Gpa{(64U << 20) - 0x1000}, whole).error().kind(), ErrorKind::kInvalidInput);
}

// The code that a vCPU executes is memory like any other.
TEST_P(State, WhatIsWrittenOverCodeIsExecuted) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  guest->obey(k1, Command::kRow);
  EXPECT_EQ(machine.registers(k1)->r8, 12U);
  constexpr std::array kNops{std::byte{0x90}, std::byte{0x90}, std::byte{0x90}};
  ASSERT_OK(machine.write_memory(k1, guest->at("row") + 3, kNops));
  ASSERT_OK(machine.write_physical(Gpa{guest->at("row").value + 9}, kNops));
  guest->obey(k1, Command::kRow);
  EXPECT_EQ(machine.registers(k1)->r8, 10U);
}

PANICROOM_ON_EVERY_ENGINE(State);

}  // namespace
}  // namespace panicroom::hypervisor
