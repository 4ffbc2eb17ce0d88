// Breakpoints beyond the four that a processor has registers for: as exact as the first, and as invisible.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

class ManyBreakpoints : public Conformance {};

constexpr std::uint64_t kRow = 12;  // Instructions, of three bytes each.
// Not the order of the addresses: which breakpoint gets a register is the engine's choice, and none of the guest's.
constexpr std::array<std::uint64_t, kRow> kOrder{7, 0, 11, 3, 5, 1, 10, 2, 8, 4, 9, 6};

Gva row(const TestGuest& guest, std::uint64_t instruction) { return guest.at("row") + 3 * instruction; }

TEST_P(ManyBreakpoints, EachIsHitOnceAPassBeforeItsInstruction) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  std::map<std::uint64_t, BreakpointId> set;
  for (const auto instruction : kOrder) {
    const auto id = machine.add_breakpoint(row(*guest, instruction), {k1});
    ASSERT_OK(id);
    set.emplace(instruction, *id);
  }
  // All of them, then without those that came first, then without most.
  for (const std::size_t removed : {0U, 4U, 10U}) {
    for (const auto instruction : std::span(kOrder).first(removed)) {
      if (set.contains(instruction)) ASSERT_OK(machine.remove_breakpoint(set.at(instruction)));
      set.erase(instruction);
    }
    for (int pass = 0; pass < 3; ++pass) {
      guest->command(k1, Command::kRow);
      for (const auto& [instruction, id] : set) {
        const auto event = guest->run();
        ASSERT_EVENT(BreakpointHit, event);
        const auto& hit = std::get<BreakpointHit>(event);
        ASSERT_EQ(hit.id, id);
        ASSERT_EQ(hit.vcpu, k1);
        const auto registers = machine.registers(k1);
        ASSERT_OK(registers);
        ASSERT_EQ(registers->rip, row(*guest, instruction).value);
        ASSERT_EQ(registers->r8, instruction);
      }
      ASSERT_TRUE(guest->run_to("work", k1));
      EXPECT_EQ(machine.registers(k1)->r8, kRow);
    }
  }
}

// While one vCPU is helped over an instruction, no other may slip through it.
TEST_P(ManyBreakpoints, NoVcpuSlipsThroughWhileAnotherIsSteppedOver) {
  auto guest = at_work(3);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  constexpr std::array kLoop{"work", "work_middle", "work_load", "work_test", "work_branch"};
  std::map<std::uint64_t, std::size_t> places;
  for (std::size_t i = 0; i < kLoop.size(); ++i) {
    ASSERT_OK(machine.add_breakpoint(guest->at(kLoop[i]), {}));
    places.emplace(guest->at(kLoop[i]).value, i);
  }
  for (std::uint64_t i = 0; i < kRow; ++i) ASSERT_OK(machine.add_breakpoint(row(*guest, i), {}));
  std::map<VcpuId, std::size_t> last;
  std::map<VcpuId, std::uint64_t> passes;
  std::map<VcpuId, std::uint64_t> first_count;
  const auto all_had_turns = [&] {
    const std::array vcpus{k0, k1, k2};
    return std::all_of(vcpus.begin(), vcpus.end(), [&](VcpuId vcpu) { return passes[vcpu] > 3; });
  };
  constexpr int kFarTooManyHits = 20'000;
  for (int i = 0; i < 300 || !all_had_turns(); ++i) {
    ASSERT_LT(i, kFarTooManyHits) << "a vCPU starves";
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    const auto& hit = std::get<BreakpointHit>(event);
    ASSERT_TRUE(places.contains(hit.at.value)) << describe(event);
    const auto place = places.at(hit.at.value);
    if (last.contains(hit.vcpu)) {
      ASSERT_EQ(place, (last.at(hit.vcpu) + 1) % kLoop.size()) << describe(event) << ", hit " << i;
    }
    last[hit.vcpu] = place;
    if (place != 1) continue;
    const auto count = guest->number("counters", hit.vcpu);
    first_count.emplace(hit.vcpu, count);
    ASSERT_EQ(count - first_count.at(hit.vcpu), passes[hit.vcpu]++);
  }
}

TEST_P(ManyBreakpoints, OfOneVcpuAreNoneOfTheOthers) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  for (const auto i : kOrder) ASSERT_OK(machine.add_breakpoint(row(*guest, i), {i % 3 == 0 ? k0 : k1}));
  std::map<VcpuId, std::vector<std::uint64_t>> expected;
  for (std::uint64_t i = 0; i < kRow; ++i) expected[i % 3 == 0 ? k0 : k1].push_back(i);
  for (int pass = 0; pass < 3; ++pass) {
    std::map<VcpuId, std::vector<std::uint64_t>> hits;
    for (const auto vcpu : {k0, k1}) guest->command(vcpu, Command::kRow);
    for (std::uint64_t i = 0; i < kRow; ++i) {
      const auto event = guest->run();
      ASSERT_EVENT(BreakpointHit, event);
      const auto& hit = std::get<BreakpointHit>(event);
      const auto registers = machine.registers(hit.vcpu);
      ASSERT_OK(registers);
      ASSERT_EQ(registers->rip, hit.at.value);
      ASSERT_EQ(hit.at, row(*guest, registers->r8));
      hits[hit.vcpu].push_back(registers->r8);
    }
    EXPECT_EQ(hits, expected);
    guest->work({k0, k1});
  }
}

TEST_P(ManyBreakpoints, InsideAnNmiHandlerTooAndTheInterruptedPassIsOne) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  const std::vector<std::string> handler{"nmi_handler", "nmi_test", "nmi_branch", "nmi_return"};
  const std::vector<std::string> loop{"work_load", "work_test", "work_middle"};
  std::map<BreakpointId, std::string> places;
  for (const auto& part : {handler, loop}) {
    for (const auto& place : part) {
      const auto id = machine.add_breakpoint(guest->at(place), {k1});
      ASSERT_OK(id);
      places.emplace(*id, place);
    }
  }
  std::string place;
  while (place != loop.back()) {
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    place = places.at(std::get<BreakpointHit>(event).id);
  }
  for (std::uint64_t i = 0; i < 20; ++i) {
    const auto count = guest->number("counters", k1);
    ASSERT_OK(machine.inject_nmi(k1));
    std::vector<std::string> in_handler;
    std::vector<std::string> in_loop;
    for (std::size_t hit = 0; hit < handler.size() + loop.size(); ++hit) {
      const auto event = guest->run();
      ASSERT_EVENT(BreakpointHit, event);
      place = places.at(std::get<BreakpointHit>(event).id);
      if (std::find(loop.begin(), loop.end(), place) != loop.end()) {
        // When the NMI comes in is the processor's affair, but once it has, the handler runs to its end.
        EXPECT_TRUE(in_handler.empty() || in_handler.size() == handler.size()) << place;
        in_loop.push_back(place);
      } else {
        EXPECT_EQ(guest->number("nmis", k1), in_handler.empty() ? i : i + 1);
        in_handler.push_back(place);
      }
    }
    ASSERT_EQ(in_handler, handler);
    ASSERT_EQ(in_loop, loop);
    ASSERT_EQ(guest->number("counters", k1), count + 1);
  }
}

TEST_P(ManyBreakpoints, AreNotSeenInMemoryAndStayUnderWhatIsWritten) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  std::array<std::byte, 3 * kRow> before{};
  std::array<std::byte, 3 * kRow> with{};
  ASSERT_OK(machine.read_memory(k1, guest->at("row"), before));
  for (const auto i : kOrder) ASSERT_OK(machine.add_breakpoint(row(*guest, i), {k1}));
  // They come into force when it runs.
  guest->work({k0, k1});
  ASSERT_OK(machine.read_memory(k1, guest->at("row"), with));
  EXPECT_EQ(with, before);
  ASSERT_OK(machine.read_physical(Gpa{guest->at("row").value}, with));
  EXPECT_EQ(with, before);

  // Every instruction under its breakpoint becomes another.
  constexpr std::array kNops{std::byte{0x90}, std::byte{0x90}, std::byte{0x90}};
  for (std::uint64_t i = 1; i < kRow; ++i) ASSERT_OK(machine.write_memory(k1, row(*guest, i), kNops));
  guest->command(k1, Command::kRow);
  for (std::uint64_t i = 0; i < kRow; ++i) {
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    ASSERT_EQ(std::get<BreakpointHit>(event).at, row(*guest, i));
    ASSERT_EQ(machine.registers(k1)->r8, std::min<std::uint64_t>(i, 1));
  }
  guest->work({k0, k1});
  ASSERT_OK(machine.read_memory(k1, row(*guest, 1), std::span(with).first(kNops.size())));
  EXPECT_TRUE(std::equal(kNops.begin(), kNops.end(), with.begin()));
}

// A snapshot holds the guest's memory, not what the engine has put there; and its restoring takes no breakpoint away.
TEST_P(ManyBreakpoints, AreNoPartOfASnapshot) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  std::array<std::byte, 3 * kRow> before{};
  std::array<std::byte, 3 * kRow> after{};
  ASSERT_OK(machine.read_memory(k1, guest->at("row"), before));
  ASSERT_OK(machine.snapshot("without"));
  std::vector<BreakpointId> ids;
  for (const auto i : kOrder) {
    const auto id = machine.add_breakpoint(row(*guest, i), {k1});
    ASSERT_OK(id);
    ids.push_back(*id);
  }
  const auto pass = [&](bool hits) {
    guest->command(k1, Command::kRow);
    for (std::uint64_t i = 0; hits && i < kRow; ++i) {
      const auto event = guest->run();
      ASSERT_EVENT(BreakpointHit, event);
      ASSERT_EQ(std::get<BreakpointHit>(event).at, row(*guest, i));
    }
    ASSERT_TRUE(guest->run_to("work", k1));
    ASSERT_EQ(machine.registers(k1)->r8, kRow);
    ASSERT_OK(machine.read_memory(k1, guest->at("row"), after));
    ASSERT_EQ(after, before);
  };
  pass(true);
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_OK(machine.snapshot("with"));
  for (const char* name : {"without", "with", "without"}) {
    ASSERT_OK(machine.restore(name));
    pass(true);
    ASSERT_FALSE(HasFatalFailure());
  }
  for (const auto id : ids) ASSERT_OK(machine.remove_breakpoint(id));
  for (const char* name : {"with", "without", "with"}) {
    ASSERT_OK(machine.restore(name));
    pass(false);
    ASSERT_FALSE(HasFatalFailure());
  }
}

PANICROOM_ON_EVERY_ENGINE(ManyBreakpoints);

}  // namespace
}  // namespace panicroom::hypervisor
