#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

class Snapshots : public Conformance {};

TEST_P(Snapshots, ASnapshotBringsBackVcpusAndMemoryAndLeavesTheRest) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
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
}

TEST_P(Snapshots, MemoryIsWhatItWasWhoeverChangedIt) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  // Of these pages the guest uses none.
  constexpr Gpa kFar{48U << 20};
  std::vector<std::byte> pages(std::size_t{3} * 4096, std::byte{0xa5});
  std::vector<std::byte> now(pages.size());
  std::array<std::byte, 700> written{};
  ASSERT_OK(machine.write_physical(kFar, pages));
  ASSERT_OK(machine.snapshot("first"));
  const auto first = machine.registers(k1);
  ASSERT_OK(first);

  guest->obey(k1, Command::kRepeat);  // Stores its AL, which is 0 or the command.
  const auto filler = std::byte{0x5a};
  ASSERT_OK(machine.write_memory(k0, guest->at("scratch"), std::span(&filler, 1)));
  ASSERT_OK(machine.write_physical(kFar + 4096, as_bytes("changed")));
  ASSERT_OK(machine.snapshot("second"));
  const auto second = machine.registers(k1);
  ASSERT_OK(second);

  for (int trial = 0; trial < 3; ++trial) {
    ASSERT_OK(machine.restore("first"));
    EXPECT_EQ(*machine.registers(k1), *first);
    ASSERT_OK(machine.read_physical(kFar, now));
    EXPECT_EQ(now, pages);
    ASSERT_OK(machine.read_memory(k1, guest->at("scratch"), written));
    EXPECT_TRUE(std::all_of(written.begin(), written.end(), [](std::byte byte) { return byte == std::byte{0}; }));
    if (trial > 0) guest->work({k0, k1});

    ASSERT_OK(machine.restore("second"));
    EXPECT_EQ(*machine.registers(k1), *second);
    ASSERT_OK(machine.read_physical(kFar, now));
    EXPECT_EQ(as_text(std::span(now).subspan(4096, 7)), "changed");
    EXPECT_EQ(now[0], std::byte{0xa5});
    ASSERT_OK(machine.read_memory(k1, guest->at("scratch"), written));
    EXPECT_EQ(written[0], filler);
    ASSERT_OK(machine.write_physical(kFar, as_bytes("again")));
    if (trial > 0) guest->work({k0, k1});
  }
}

TEST_P(Snapshots, APendingInterruptIsPendingAgain) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  // Interrupts are off there.
  guest->obey(k0, Command::kFixedTo1);
  guest->work({k0, k1});
  ASSERT_EQ(guest->number("irqs", k1), 0U);
  ASSERT_OK(machine.snapshot("pending"));
  for (int trial = 0; trial < 3; ++trial) {
    guest->command(k1, Command::kInterruptsOn);
    guest->run_until([&] { return guest->number("irqs", k1) == 1; });
    guest->work({k0, k1});
    EXPECT_EQ(guest->number("irqs", k1), 1U);
    EXPECT_EQ(guest->word("last_vector", k1), 0xf8U);
    ASSERT_OK(machine.restore("pending"));
    EXPECT_EQ(guest->number("irqs", k1), 0U);
  }
}

TEST_P(Snapshots, APendingNmiIsPendingAgain) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  ASSERT_OK(machine.snapshot("none"));
  ASSERT_OK(machine.inject_nmi(k1));
  ASSERT_OK(machine.snapshot("pending"));
  for (int trial = 0; trial < 3; ++trial) {
    ASSERT_OK(machine.restore("pending"));
    guest->run_until([&] { return guest->number("nmis", k1) == 1; });
    ASSERT_OK(machine.restore("none"));
    guest->work({k0, k1});
    EXPECT_EQ(guest->number("nmis", k1), 0U) << "what was pending was not, when that snapshot was taken";
  }
}

TEST_P(Snapshots, InsideAnNmiHandlerNmisAreStillBlocked) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  ASSERT_OK(machine.inject_nmi(k1));
  ASSERT_TRUE(guest->run_to("nmi_handler", k1));
  ASSERT_OK(machine.snapshot("inside"));
  const auto id = machine.add_breakpoint(guest->at("nmi_handler"), {k1});
  ASSERT_OK(id);
  for (int trial = 0; trial < 3; ++trial) {
    ASSERT_OK(machine.restore("inside"));
    ASSERT_OK(machine.inject_nmi(k1));
    auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    // A vCPU that stands at a breakpoint may report it again after restore(); the next one is the second NMI's.
    if (guest->number("nmis", k1) == 0) event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    EXPECT_EQ(guest->number("nmis", k1), 1U);
    guest->work({k1});
    EXPECT_EQ(guest->number("nmis", k1), 2U);
  }
}

// In service until its end: a second interrupt of the same vector waits.
TEST_P(Snapshots, AnInterruptInServiceIsStillInService) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  guest->obey(k1, Command::kInterruptsOn);
  const auto at_end = machine.add_breakpoint(guest->at("irq_end"), {k1});
  ASSERT_OK(at_end);
  guest->command(k0, Command::kFixedTo1);
  auto event = guest->run();
  ASSERT_EVENT(BreakpointHit, event);
  ASSERT_OK(machine.remove_breakpoint(*at_end));
  ASSERT_OK(machine.snapshot("in-service"));
  for (int trial = 0; trial < 3; ++trial) {
    ASSERT_OK(machine.restore("in-service"));
    machine.set_held(k1, true);
    guest->obey(k0, Command::kFixedTo1);
    machine.set_held(k1, false);
    guest->run_until([&] { return guest->number("irqs", k1) == 2; });
    guest->work({k0, k1});
    EXPECT_EQ(guest->number("irqs", k1), 2U);
    EXPECT_TRUE((machine.registers(k1)->rflags & kRflagsIf) != 0);
  }
}

TEST_P(Snapshots, AHaltedVcpuWaitsAgainAndCanBeWoken) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  ASSERT_OK(machine.snapshot("running"));
  guest->command(k1, Command::kHalt);
  guest->run_until([&] { return *machine.halted(k1); });
  const auto passes = guest->number("counters", k1);
  ASSERT_OK(machine.snapshot("halted"));
  for (int trial = 0; trial < 3; ++trial) {
    ASSERT_OK(machine.restore("running"));
    EXPECT_FALSE(*machine.halted(k1));
    guest->work({k1});
    ASSERT_OK(machine.restore("halted"));
    EXPECT_TRUE(*machine.halted(k1));
    guest->work({k0});
    EXPECT_TRUE(*machine.halted(k1));
    EXPECT_EQ(guest->number("counters", k1), passes);
    guest->command(k0, Command::kFixedTo1);
    guest->work({k1});
    EXPECT_EQ(guest->number("irqs", k1), 1U);
  }
}

// Its addresses and its priority.
TEST_P(Snapshots, TheLocalApicIsWhatItWas) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  constexpr std::uint32_t kTaskPriority = 0x80;
  constexpr std::uint32_t kLogicalDestination = 0xd0;
  guest->obey(k1, Command::kInterruptsOn);
  ASSERT_OK(machine.snapshot("addressed"));
  guest->write_apic(k1, kLogicalDestination, 0x80000000);
  ASSERT_OK(machine.snapshot("elsewhere"));
  ASSERT_OK(machine.restore("addressed"));
  guest->write_apic(k1, kTaskPriority, 0xf0);
  ASSERT_OK(machine.snapshot("busy"));
  const auto interrupts_after_one = [&](const char* name) {
    EXPECT_TRUE(machine.restore(name));
    guest->obey(k0, Command::kFixedTo1And2Logical);
    guest->work({k0, k1});
    return guest->number("irqs", k1);
  };
  for (int trial = 0; trial < 2; ++trial) {
    EXPECT_EQ(interrupts_after_one("addressed"), 1U);
    EXPECT_EQ(interrupts_after_one("elsewhere"), 0U);
    EXPECT_EQ(interrupts_after_one("busy"), 0U);
    guest->write_apic(k1, kTaskPriority, 0);
    guest->run_until([&] { return guest->number("irqs", k1) == 1; });
  }
}

PANICROOM_ON_EVERY_ENGINE(Snapshots);

}  // namespace
}  // namespace panicroom::hypervisor
