// A guest that means harm may do itself any, but the machine stays the harness's: it ends in a clear outcome, can be
// looked at, restored and destroyed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

using namespace std::chrono_literals;

// The order of `attacks` in hostile.S.
enum class Attack : std::uint32_t {
  kNone,
  kPortWrites,
  kPortReads,
  kPortSweep,
  kDeviceMemory,
  kLocalApic,
  kIoApic,
  kLongCopies,
  kMsrs,
  kTripleFault,
  kNoPageTables,
  kNoStack,
  kHaltForEver,
  kResetStorm,
  kExceptionStorm,
  kExecuteDevice,
  kExecuteNothing,
  kRandomState,
};

enum class Outcome { kFinished, kPausedAtNoProgress, kReset, kShutdown, kLost };
const char* name(Outcome outcome) {
  constexpr std::array kNames{"finished", "paused", "reset", "shutdown", "lost"};
  return kNames.at(static_cast<std::size_t>(outcome));
}

class Hostile : public Conformance {
 protected:
  static constexpr std::uint32_t kVcpus = 2;

  // At the place where it waits for what to do, which is a snapshot.
  void start() {
    guest_.reset();
    guest_ = TestGuest::create(GetParam(), kVcpus, PANICROOM_HOSTILE_GUEST);
    ASSERT_NE(guest_, nullptr);
    for (const auto vcpu : {k0, k1}) ASSERT_TRUE(guest_->run_to("await", vcpu));
    ASSERT_OK(guest_->machine().snapshot("await"));
  }

  template <typename T>
  void set(std::string_view symbol, T value, std::uint64_t element = 0) {
    ASSERT_OK(guest_->machine().write_physical(Gpa{guest_->at(symbol).value + sizeof(T) * element},
                                               std::as_bytes(std::span(&value, 1))));
  }

  std::uint64_t sum(std::string_view table) {
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < kVcpus; ++i) sum += guest_->number(table, VcpuId{i});
    return sum;
  }

  // Has all vCPUs do it, and runs until they have, or can no more: a stop is then still to be had.
  Outcome run(Attack attack, std::uint32_t rounds, std::uint64_t seed) {
    auto& machine = guest_->machine();
    set("rounds", rounds);
    for (std::uint32_t i = 0; i < kVcpus; ++i) {
      set("seeds", (seed + 1) * 0x9e37'79b9'7f4a'7c15 + i, i);
      set("attack", static_cast<std::uint32_t>(attack), i);
    }
    std::uint64_t progress = 0;
    for (auto slice = 20ms;; slice = std::min(2 * slice, std::chrono::milliseconds(500))) {
      if (const auto resumed = machine.resume(); !resumed) return lost(resumed.error());
      auto event = await(Clock::now() + slice);
      if (std::holds_alternative<DeadlinePassed>(event)) {
        if (const auto asked = machine.pause(); !asked) return lost(asked.error());
        event = await(Clock::now() + 1min);
      }
      if (std::holds_alternative<GuestReset>(event)) return Outcome::kReset;
      if (std::holds_alternative<GuestShutdown>(event)) return Outcome::kShutdown;
      if (const auto* end = std::get_if<MachineLost>(&event)) return lost(end->reason);
      EXPECT_TRUE(std::holds_alternative<Paused>(event)) << describe(event);
      if (HasFailure()) return Outcome::kLost;
      if (sum("finishes") == kVcpus) return Outcome::kFinished;
      const auto now = sum("done") + sum("waited");
      if (slice >= 160ms && now == progress) return Outcome::kPausedAtNoProgress;
      progress = now;
    }
  }

  // After any outcome but the machine's end.
  void expect_still_ours() {
    auto& machine = guest_->machine();
    for (const auto vcpu : {k0, k1}) {
      EXPECT_TRUE(machine.registers(vcpu));
      EXPECT_TRUE(machine.halted(vcpu));
    }
    ASSERT_OK(machine.restore("await"));
    const auto waited = sum("waited");
    EXPECT_EQ(sum("done"), 0U);
    guest_->run_until([&] { return sum("waited") > waited + 100; });
    ASSERT_OK(machine.restore("await"));
  }

  void attack(Attack attack, std::uint32_t rounds, int seeds) {
    start();
    if (HasFatalFailure()) return;
    std::map<std::string, int> outcomes;
    for (int seed = 0; seed < seeds; ++seed) {
      SCOPED_TRACE(fmt::format("seed {}", seed));
      const auto outcome = run(attack, rounds, static_cast<std::uint64_t>(seed));
      ++outcomes[name(outcome)];
      ASSERT_NE(outcome, Outcome::kLost) << why_lost_;
      if (outcome == Outcome::kShutdown) {
        ASSERT_OK(guest_->machine().destroy());
        start();
      } else {
        expect_still_ours();
      }
      if (HasFailure()) return;
    }
    for (const auto& [outcome, count] : outcomes) RecordProperty(outcome, count);
  }

  std::unique_ptr<TestGuest> guest_;
  std::string why_lost_;

 private:
  // The next event that is not output.
  Event await(Clock::time_point deadline) {
    for (;;) {
      auto event = guest_->machine().next_event(deadline);
      if (!std::holds_alternative<Output>(event)) return event;
    }
  }

  Outcome lost(const Error& error) {
    why_lost_ = error.message();
    return Outcome::kLost;
  }
};

TEST_P(Hostile, WhatAProcessorShutsDownForIsAReset) {
  start();
  ASSERT_FALSE(HasFatalFailure());
  for (const auto attack : {Attack::kTripleFault, Attack::kNoPageTables, Attack::kNoStack}) {
    SCOPED_TRACE(static_cast<std::uint32_t>(attack));
    for (int trial = 0; trial < 10; ++trial) {
      ASSERT_EQ(run(attack, 1, 0), Outcome::kReset) << why_lost_;
      expect_still_ours();
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_P(Hostile, EndlessExceptions) { attack(Attack::kExceptionStorm, 1, 2); }

TEST_P(Hostile, HaltedForEverIsSeenAndPaused) {
  start();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_EQ(run(Attack::kHaltForEver, 1, 0), Outcome::kPausedAtNoProgress) << why_lost_;
  for (const auto vcpu : {k0, k1}) {
    EXPECT_TRUE(*guest_->machine().halted(vcpu));
    EXPECT_EQ(guest_->machine().registers(vcpu)->rflags & kRflagsIf, 0U);
    EXPECT_EQ(guest_->number("done", vcpu), 1U);
  }
  expect_still_ours();
}

TEST_P(Hostile, ResetsThatNeverEndAreEachOne) {
  start();
  ASSERT_FALSE(HasFatalFailure());
  auto& machine = guest_->machine();
  for (int trial = 0; trial < 10; ++trial) {
    ASSERT_EQ(run(Attack::kResetStorm, 1, 0), Outcome::kReset) << why_lost_;
    expect_still_ours();
    ASSERT_FALSE(HasFailure());
  }
  // And if nobody restores it, resuming a reset machine is refused, or it begins again; it is nothing else.
  ASSERT_EQ(run(Attack::kResetStorm, 1, 0), Outcome::kReset) << why_lost_;
  for (int i = 0; i < 3 && machine.resume(); ++i) {
    ASSERT_OK(machine.pause());
    const auto event = guest_->next();
    ASSERT_TRUE(std::holds_alternative<Paused>(event) || std::holds_alternative<GuestReset>(event)) << describe(event);
  }
  expect_still_ours();
}

// Only where the devices are this project's: QEMU's own are its own affair.
class HostileToDevices : public Hostile {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HostileToDevices);

std::vector<Engine> with_own_devices() {
  std::vector<Engine> chosen;
  for (const auto& engine : engines()) {
    if (engine.has_own_devices) chosen.push_back(engine);
  }
  return chosen;
}

TEST_P(HostileToDevices, WritesToPorts) { attack(Attack::kPortWrites, 2000, 20); }
TEST_P(HostileToDevices, ReadsOfPorts) { attack(Attack::kPortReads, 2000, 5); }
TEST_P(HostileToDevices, ReadsOfEveryPort) { attack(Attack::kPortSweep, 0x10000, 1); }
TEST_P(HostileToDevices, DeviceMemory) { attack(Attack::kDeviceMemory, 2000, 20); }
TEST_P(HostileToDevices, LocalApic) { attack(Attack::kLocalApic, 1000, 30); }
TEST_P(HostileToDevices, IoApic) { attack(Attack::kIoApic, 1000, 10); }
TEST_P(HostileToDevices, LongCopies) { attack(Attack::kLongCopies, 2, 2); }
TEST_P(HostileToDevices, Msrs) { attack(Attack::kMsrs, 500, 20); }
TEST_P(HostileToDevices, ControlRegisters) { attack(Attack::kRandomState, 200, 20); }

// What a processor would do there no two agree on: an outcome all the same, the machine's loss with a reason among
// them.
TEST_P(HostileToDevices, CodeWhereNoneCanBe) {
  for (const auto attack : {Attack::kExecuteDevice, Attack::kExecuteNothing}) {
    SCOPED_TRACE(static_cast<std::uint32_t>(attack));
    start();
    ASSERT_FALSE(HasFatalFailure());
    const auto outcome = run(attack, 1, 0);
    RecordProperty(fmt::format("attack{}", static_cast<std::uint32_t>(attack)), name(outcome));
    if (outcome == Outcome::kLost) {
      EXPECT_NE(why_lost_, "");
      EXPECT_TRUE(guest_->machine().destroy());
    } else {
      expect_still_ours();
    }
  }
}

PANICROOM_ON_EVERY_ENGINE(Hostile);
INSTANTIATE_TEST_SUITE_P(Engine, HostileToDevices, ::testing::ValuesIn(with_own_devices()), name_of_engine);

}  // namespace
}  // namespace panicroom::hypervisor
