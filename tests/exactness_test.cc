// The injection is exact: a stop's RIP is the named instruction on the named vCPU, every time, under KASLR, from one
// snapshot.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "agent/protocol/quiet_word.h"
#include "agent/protocol/workloads.h"
#include "harness/director/injection.h"
#include "harness/session/armed_machine.h"
#include "harness/session/engine.h"
#include "kernels/points/resolver.h"
#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

using harness::ArmedMachine;
using hypervisor::BreakpointHit;
using hypervisor::Clock;
using hypervisor::Event;
using hypervisor::Machine;

constexpr int kTrials = 100;
// So long that only a machine that is stuck gets there.
constexpr auto kStuck = std::chrono::minutes(5);

// Runs until a breakpoint; what the guest writes meanwhile is of no interest.
Result<BreakpointHit> run_to_breakpoint(Machine& machine) {
  TRY(machine.resume());
  const auto limit = Clock::now() + kStuck;
  while (true) {
    const Event event = machine.next_event(limit);
    if (const auto* hit = std::get_if<BreakpointHit>(&event)) return *hit;
    if (const auto* lost = std::get_if<hypervisor::MachineLost>(&event)) return lost->reason;
    if (!std::holds_alternative<hypervisor::Output>(event)) return host_error("event {}", event.index());
  }
}

// How many bytes the agent writes until the workload whose page that is has made so many more passes.
Result<std::size_t> agent_bytes_in(Machine& machine, Gpa page, std::uint64_t passes) {
  const auto count = [&]() -> Result<std::uint64_t> {
    std::uint64_t word = 0;
    TRY(machine.read_physical(page, std::as_writable_bytes(std::span(&word, 1))));
    return word;
  };
  std::size_t bytes = 0;
  const std::uint64_t until = TRY(count()) + passes;
  const auto limit = Clock::now() + kStuck;
  while (TRY(count()) < until) {
    if (Clock::now() > limit) return host_error("the workload does not go on");
    TRY(machine.resume());
    // Heartbeats come more often than that: the moment must not move with each of them.
    const auto look_at = Clock::now() + std::chrono::milliseconds(200);
    bool asked = false;
    for (bool stopped = false; !stopped;) {
      const Event event = machine.next_event(asked ? limit : look_at);
      stopped = hypervisor::stops(event);
      if (const auto* output = std::get_if<hypervisor::Output>(&event)) {
        if (output->stream == hypervisor::Stream::kAgent) bytes += output->bytes.size();
      } else if (std::holds_alternative<hypervisor::DeadlinePassed>(event)) {
        asked = true;
        TRY(machine.pause());
      } else if (!std::holds_alternative<hypervisor::Paused>(event)) {
        return host_error("event {}", event.index());
      }
    }
  }
  return bytes;
}

class ExactnessTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!test_kernel()) GTEST_SKIP() << no_kernel();
    auto image = kernels::KernelImage::load(*test_kernel());
    ASSERT_TRUE(image) << image.error().message();
    image_.emplace(*std::move(image));
    v1::Host host;
    const auto engine = harness::make_engine("qemu", host);
    ASSERT_TRUE(engine) << engine.error().message();
    const harness::MachineRecipe recipe{
        .kernel = &*image_, .capture = &*image_, .machine = {}, .workload = {"syscalls", "syscalls"}};
    const harness::BootOptions options{.factory = engine->factory,
                                       .directory = scratch_.path() / "machine",
                                       .log_directory = scratch_.path() / "logs",
                                       .cancellation = cancellation_,
                                       .on_stage = [](std::string_view) {}};
    auto armed = ArmedMachine::boot(recipe, options);
    ASSERT_TRUE(armed) << armed.error().message();
    armed_ = *std::move(armed);
  }

  // Where a point lies in the running kernel.
  Gva running(const std::string& text) {
    const auto spec = kernels::PointSpec::parse(text);
    EXPECT_TRUE(spec) << spec.error().message();
    const auto point = kernels::resolve(*image_, *spec);
    EXPECT_TRUE(point) << point.error().message();
    return armed_->kernel().running(point->at.at(0));
  }

  // Stops `vcpu`, and nobody else, at `at`.
  void expect_exact_stop(VcpuId vcpu, Gva at) {
    Machine& machine = armed_->machine();
    const auto id = machine.add_breakpoint(at, {vcpu});
    ASSERT_TRUE(id) << id.error().message();
    const auto hit = run_to_breakpoint(machine);
    ASSERT_TRUE(hit) << hit.error().message();
    EXPECT_EQ(hit->vcpu, vcpu);
    EXPECT_EQ(hit->at, at);
    EXPECT_EQ(hit->id, *id);
    const auto registers = machine.registers(vcpu);
    ASSERT_TRUE(registers) << registers.error().message();
    EXPECT_EQ(registers->rip, at.value);
    ASSERT_TRUE(machine.remove_breakpoint(*id));
  }

  Scratch scratch_;
  harness::Cancellation cancellation_;
  std::optional<kernels::KernelImage> image_;
  std::unique_ptr<ArmedMachine> armed_;
};

TEST_F(ExactnessTest, EveryStopIsTheNamedInstructionOnTheNamedVcpu) {
  const auto* workload = agent::find_workload("syscalls");
  ASSERT_NE(workload, nullptr);
  const auto panic = image_->symbols().unique("panic");
  ASSERT_TRUE(panic) << panic.error().message();
  for (int trial = 0; trial < kTrials; ++trial) {
    SCOPED_TRACE(trial);
    const VcpuId vcpu{static_cast<std::uint32_t>(trial % 2)};
    if (trial > 0) {
      const auto restored = armed_->restore();
      ASSERT_TRUE(restored) << restored.error().message();
    }
    expect_exact_stop(vcpu, running(std::string(agent::point_symbol(*workload, vcpu))));
    const auto injected =
        harness::inject_panic(armed_->machine(), vcpu, armed_->kernel().running(panic->address), "exact");
    ASSERT_TRUE(injected) << injected.error().message();
    expect_exact_stop(vcpu, running("panic/gate"));
    expect_exact_stop(vcpu, running("__crash_kexec/lock-taken"));
    if (HasFatalFailure()) return;
  }
}

// What the host says to it at the jump, so that no CPU that was not stopped writes between the capture kernel's bytes.
TEST_F(ExactnessTest, TheAgentIsQuietOnceItIsToldToBe) {
  Machine& machine = armed_->machine();
  ASSERT_FALSE(armed_->memory().workload_pages.empty());
  const Gpa page = armed_->memory().workload_pages.front();
  // At least a millisecond of the guest's for every 16: several heartbeats' time.
  constexpr std::uint64_t kPasses = 8000;
  const auto before = agent_bytes_in(machine, page, kPasses);
  ASSERT_TRUE(before) << before.error().message();
  EXPECT_GT(*before, 0U);

  constexpr std::uint32_t kQuiet = 1;
  const auto told = machine.write_physical(page + agent::kQuietWordOffset, std::as_bytes(std::span(&kQuiet, 1)));
  ASSERT_TRUE(told) << told.error().message();
  ASSERT_TRUE(agent_bytes_in(machine, page, kPasses));  // What it was just about to send.
  const auto after = agent_bytes_in(machine, page, kPasses);
  ASSERT_TRUE(after) << after.error().message();
  EXPECT_EQ(*after, 0U);
}

}  // namespace
}  // namespace panicroom::tests
