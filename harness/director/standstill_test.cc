#include "harness/director/standstill.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <vector>

#include "agent/protocol/start_page.h"
#include "harness/director/injection.h"

namespace panicroom::harness {
namespace {

using hypervisor::Registers;

// What one vCPU executes: the states that it goes through, back to `loop_to` at the end, and what stands at each RIP.
struct Program {
  std::vector<Registers> states;
  std::size_t loop_to = 0;
  std::size_t at = 0;
  bool held = false;
  bool halted = false;
};

// Registers, memory and steps; everything else is never asked for.
class ScriptedMachine : public hypervisor::Machine {
 public:
  std::vector<Program> cpus;
  std::uint64_t breakpoint = 0;
  std::map<std::uint64_t, std::vector<std::uint8_t>> code;
  std::vector<std::byte> physical;

  [[nodiscard]] std::string engine() const override { return "scripted"; }
  [[nodiscard]] bool can(hypervisor::Capability) const override { return false; }
  [[nodiscard]] std::uint32_t vcpus() const override { return static_cast<std::uint32_t>(cpus.size()); }
  [[nodiscard]] std::chrono::nanoseconds starved() const override { return {}; }
  Result<> resume() override { return host_error("not here"); }
  Result<> pause() override { return host_error("not here"); }
  hypervisor::Event next_event(hypervisor::Clock::time_point) override { return hypervisor::DeadlinePassed{}; }
  void cancel() override {}
  Result<> destroy() override { return {}; }
  Result<> snapshot(const std::string&) override { return host_error("not here"); }
  Result<> restore(const std::string&) override { return host_error("not here"); }
  void set_held(VcpuId vcpu, bool held) override { cpus[index(vcpu)].held = held; }
  [[nodiscard]] bool held(VcpuId vcpu) const override { return cpus[index(vcpu)].held; }
  Result<hypervisor::BreakpointId> add_breakpoint(Gva, std::set<VcpuId>) override { return host_error("not here"); }
  Result<> remove_breakpoint(hypervisor::BreakpointId) override { return host_error("not here"); }
  Result<Registers> registers(VcpuId vcpu) override {
    const Program& program = cpus[index(vcpu)];
    return program.states[program.at];
  }
  Result<> set_registers(VcpuId, const Registers&) override { return host_error("not here"); }
  Result<bool> halted(VcpuId vcpu) override { return cpus[index(vcpu)].halted; }
  Result<> read_memory(VcpuId, Gva at, std::span<std::byte> into) override {
    const auto found = code.find(at.value);
    if (found == code.end() || found->second.size() < into.size()) return invalid_input("not mapped");
    for (std::size_t i = 0; i < into.size(); ++i) into[i] = std::byte{found->second[i]};
    return {};
  }
  Result<> write_memory(VcpuId, Gva, std::span<const std::byte>) override { return host_error("not here"); }
  Result<> read_physical(Gpa at, std::span<std::byte> into) override {
    if (at.value > physical.size() || physical.size() - at.value < into.size()) return host_error("no memory there");
    std::copy_n(physical.begin() + static_cast<std::ptrdiff_t>(at.value), into.size(), into.begin());
    return {};
  }
  Result<> write_physical(Gpa at, std::span<const std::byte> bytes) override {
    if (at.value > physical.size() || physical.size() - at.value < bytes.size()) return host_error("no memory there");
    std::ranges::copy(bytes, physical.begin() + static_cast<std::ptrdiff_t>(at.value));
    return {};
  }
  Result<> step(VcpuId vcpu) override {
    Program& program = cpus[index(vcpu)];
    program.at = program.at + 1 < program.states.size() ? program.at + 1 : program.loop_to;
    return {};
  }
  Result<bool> has_hit_to_report(VcpuId vcpu) override { return registers(vcpu)->rip == breakpoint; }
  Result<> inject_nmi(VcpuId) override { return host_error("not here"); }
  Result<> inject_mce(VcpuId, const hypervisor::MachineCheck&) override { return host_error("not here"); }
  Result<> watch_ipis(std::span<const hypervisor::IcrStore>, std::vector<hypervisor::IpiRule>) override { return {}; }
  Result<> set_ipi_rule_active(std::size_t, bool) override { return {}; }
  hypervisor::UnwatchedIpis take_unwatched_ipis() override { return {}; }
  Result<> unwatch_ipis() override { return {}; }
};

constexpr VcpuId kCpu{0};

// A spinlock's loop: pause; mov eax, [rdi]; test eax, eax; jne.
class SpinningMachine : public ScriptedMachine {
 public:
  SpinningMachine() {
    code = {{0x100, {0xf3, 0x90}}, {0x102, {0x8b, 0x07}}, {0x104, {0x85, 0xc0}}, {0x106, {0x75, 0xf8}}};
    cpus.resize(1);
    for (const std::uint64_t rip : {0x100, 0x102, 0x104, 0x106}) {
      cpus[0].states.push_back({.rax = 1, .rip = rip, .rflags = 2});
    }
  }
};

TEST(SpinsForEver, ALoopThatLeavesEverythingAsItWas) {
  SpinningMachine machine;
  EXPECT_TRUE(*spins_for_ever(machine, kCpu));
}

TEST(SpinsForEver, ALoopThatIsStillToBeEntered) {
  SpinningMachine machine;
  auto& program = machine.cpus[0];
  program.states.insert(program.states.begin(), {.rax = 7, .rip = 0x100, .rflags = 2});
  program.loop_to = 1;
  EXPECT_TRUE(*spins_for_ever(machine, kCpu));
}

// The observer has its breakpoints on the way of a CPU that comes out of a wait just now: it must hear of them.
TEST(SpinsForEver, ABreakpointIsNotPassed) {
  SpinningMachine machine;
  machine.breakpoint = 0x104;
  EXPECT_FALSE(*spins_for_ever(machine, kCpu));
  EXPECT_EQ(machine.registers(kCpu)->rip, 0x104u);
  EXPECT_FALSE(*spins_for_ever(machine, kCpu));
  EXPECT_EQ(machine.registers(kCpu)->rip, 0x104u);
}

// The stub's step over PAUSE comes back to where it began, like one that was given up.
class EmptyLoopMachine : public ScriptedMachine {
 public:
  EmptyLoopMachine(std::uint64_t rip, std::uint64_t rflags) {
    cpus.resize(1);
    cpus[0].states = {{.rip = rip, .rflags = rflags}};
  }
};

TEST(SpinsForEver, CpuRelaxForEver) {
  for (const std::uint64_t rip : {0x100, 0x102}) {
    EmptyLoopMachine machine(rip, 2);
    machine.code = {{0x100, {0xf3, 0x90}}, {0x102, {0xeb, 0xfc}}};
    EXPECT_TRUE(*spins_for_ever(machine, kCpu)) << rip;
    machine.code[0x102] = {0xeb, 0xfa};  // To what stands before the pause.
    EXPECT_FALSE(*spins_for_ever(machine, kCpu)) << rip;
    machine.code[0x102] = {0x75, 0xfc};  // Only if not equal.
    EXPECT_FALSE(*spins_for_ever(machine, kCpu)) << rip;
  }
  EmptyLoopMachine to_itself(0x100, 2);
  to_itself.code = {{0x100, {0xeb, 0xfe}}};
  EXPECT_TRUE(*spins_for_ever(to_itself, kCpu));
  EmptyLoopMachine interruptible(0x100, 0x202);
  interruptible.code = to_itself.code;
  EXPECT_FALSE(*spins_for_ever(interruptible, kCpu));
}

TEST(SpinsForEver, NotALoopWhosePushesCannotBeSeen) {
  ScriptedMachine machine;
  machine.code = {{0x100, {0x53}}, {0x101, {0x5b}}};  // push rbx; pop rbx
  machine.cpus.resize(1);
  machine.cpus[0].states = {{.rsp = 0x1010, .rip = 0x100, .rflags = 2}, {.rsp = 0x1008, .rip = 0x101, .rflags = 2}};
  EXPECT_FALSE(*spins_for_ever(machine, kCpu));
}

TEST(SpinsForEver, NotALoopThatCounts) {
  SpinningMachine machine;
  auto& program = machine.cpus[0];
  const auto loop = program.states;
  program.states.clear();
  for (std::uint64_t n = 0; n < 200; ++n) {
    for (auto state : loop) {
      state.rcx = n;
      program.states.push_back(state);
    }
  }
  program.loop_to = program.states.size() - 1;
  EXPECT_FALSE(*spins_for_ever(machine, kCpu));
}

TEST(SpinsForEver, NotALoopThatCountsInMemory) {
  SpinningMachine machine;
  machine.code[0x102] = {0xff, 0x0f};  // dec dword ptr [rdi]
  EXPECT_FALSE(*spins_for_ever(machine, kCpu));
}

// push rbx; pop rbx: what is pushed lies below RSP afterwards, and may be another value each time.
class PushingMachine : public ScriptedMachine {
 public:
  explicit PushingMachine(bool counts) : counts_(counts) {
    code = {{0x100, {0x53}}, {0x101, {0x5b}}};
    cpus.resize(1);
    cpus[0].states = {{.rsp = 0x1010, .rip = 0x100, .rflags = 2}, {.rsp = 0x1008, .rip = 0x101, .rflags = 2}};
  }
  Result<> step(VcpuId vcpu) override {
    if (cpus[index(vcpu)].at == 0) pushed_ = counts_ ? static_cast<std::uint8_t>(pushed_ + 1) : 7;
    return ScriptedMachine::step(vcpu);
  }
  Result<> read_memory(VcpuId vcpu, Gva at, std::span<std::byte> into) override {
    if (at.value != 0x1000) return ScriptedMachine::read_memory(vcpu, at, into);
    std::ranges::fill(into, std::byte{pushed_});
    return {};
  }

 private:
  bool counts_;
  std::uint8_t pushed_ = 0;
};

TEST(SpinsForEver, NotALoopThatCountsOnItsStack) {
  PushingMachine counting(true);
  EXPECT_FALSE(*spins_for_ever(counting, kCpu));
  PushingMachine calling(false);
  EXPECT_TRUE(*spins_for_ever(calling, kCpu));
}

TEST(SpinsForEver, NotALoopThatAsksADeviceOrTheClock) {
  for (const std::vector<std::uint8_t>& code : {std::vector<std::uint8_t>{0xec, 0x90}, {0x0f, 0x31}}) {  // in; rdtsc
    SpinningMachine machine;
    machine.code[0x102] = code;
    EXPECT_FALSE(*spins_for_ever(machine, kCpu));
  }
}

TEST(SpinsForEver, ATryLockThatFailsLeavesTheLock) {
  SpinningMachine machine;
  machine.code[0x102] = {0xf0, 0x0f, 0xb1, 0x0f};  // lock cmpxchg [rdi], ecx
  EXPECT_TRUE(*spins_for_ever(machine, kCpu));
}

TEST(SpinsForEver, NotByAStepThatWasNotCarriedOut) {
  SpinningMachine machine;
  auto& states = machine.cpus[0].states;
  states = {states[1], states[1]};
  machine.cpus[0].loop_to = 0;
  EXPECT_FALSE(*spins_for_ever(machine, kCpu));
}

TEST(SpinsForEver, NotWithInterruptsOn) {
  SpinningMachine machine;
  machine.cpus[0].states[2].rflags |= hypervisor::kRflagsIf;
  EXPECT_FALSE(*spins_for_ever(machine, kCpu));
}

TEST(SpinsForEver, NotWhereTheCodeCannotBeRead) {
  SpinningMachine machine;
  machine.code.erase(0x104);
  EXPECT_FALSE(*spins_for_ever(machine, kCpu));
}

TEST(Standstill, TakesEveryCpuThatMayRun) {
  SpinningMachine machine;
  EXPECT_EQ(*standstill(machine), Standstill::kSpinning);

  Program halted{.states = {{.rip = 0x200, .rflags = 2}}, .halted = true};
  machine.cpus.push_back(halted);
  EXPECT_EQ(*standstill(machine), Standstill::kSpinning);

  Program at_work{.states = {{.rip = 0x300, .rflags = 2 | hypervisor::kRflagsIf}}};
  machine.cpus.push_back(at_work);
  EXPECT_EQ(*standstill(machine), Standstill::kNone);
  machine.cpus[2].held = true;
  EXPECT_EQ(*standstill(machine), Standstill::kSpinning);
  machine.cpus[0].held = true;
  EXPECT_EQ(*standstill(machine), Standstill::kHalted);
}

class StartWorkload : public testing::Test {
 protected:
  StartWorkload() {
    machine_.physical.resize(0x3000);
    put({.magic = agent::kStartMagic, .cpu = 1, .number = 2, .waiting = 1, .go = 0});
  }
  void put(const agent::StartPage& page) {
    EXPECT_TRUE(machine_.write_physical({0x1000}, std::as_bytes(std::span(&page, 1))));
  }
  agent::StartPage page() {
    agent::StartPage page{};
    EXPECT_TRUE(machine_.read_physical({0x1000}, std::as_writable_bytes(std::span(&page, 1))));
    return page;
  }

  ScriptedMachine machine_;
};

TEST_F(StartWorkload, WritesTheWordAndNothingElse) {
  const auto before = machine_.physical;
  ASSERT_TRUE(start_workload(machine_, VcpuId{1}, {0x1000}, 2));
  EXPECT_EQ(page().go, agent::kStartGo);
  auto after = machine_.physical;
  std::fill_n(after.begin() + 0x1000 + offsetof(agent::StartPage, go), sizeof(agent::StartPage::go), std::byte{0});
  EXPECT_EQ(after, before);
}

TEST_F(StartWorkload, RefusesAPageThatIsNotTheOne) {
  const auto untouched = [this] { return page().go == 0; };
  EXPECT_FALSE(start_workload(machine_, VcpuId{0}, {0x1000}, 2));
  EXPECT_FALSE(start_workload(machine_, VcpuId{1}, {0x1000}, 1));
  EXPECT_FALSE(start_workload(machine_, VcpuId{1}, {0x1008}, 2));
  EXPECT_FALSE(start_workload(machine_, VcpuId{1}, {0x2000}, 2));
  EXPECT_FALSE(start_workload(machine_, VcpuId{1}, {0xfffffffffffff000}, 2));
  EXPECT_TRUE(untouched());
  put({.magic = agent::kStartMagic, .cpu = 1, .number = 2, .waiting = 0, .go = 0});
  EXPECT_FALSE(start_workload(machine_, VcpuId{1}, {0x1000}, 2)) << "nobody waits yet";
  EXPECT_TRUE(untouched());
}

}  // namespace
}  // namespace panicroom::harness
