// What a run of many trials does to the host: nothing that lasts.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

namespace fs = std::filesystem;

class Stress : public Conformance {};

struct Usage {
  std::size_t files = 0;
  std::size_t threads = 0;
  std::uint64_t resident_kib = 0;
};

std::uint64_t resident_kib(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string word; status >> word;) {
    if (word != "VmRSS:") continue;
    std::uint64_t kib = 0;
    status >> kib;
    return kib;
  }
  return 0;
}

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// A library's helpers come and go. A leak at each trial is more.
constexpr std::size_t kComingAndGoing = 8;

// Of this process; memory of those that the machine lives in, too.
Usage usage(const Engine& engine, const Machine& machine) {
  Usage usage{entries("/proc/self/fd"), entries("/proc/self/task"), resident_kib(::getpid())};
  for (const pid_t process : engine.processes(machine)) usage.resident_kib += resident_kib(process);
  return usage;
}

TEST_P(Stress, ManyRestoresLeakNothingAndEachStopIsTheRightOne) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  NEEDS_CAPABILITY(machine, Capability::kIpiPolicy);
  const auto handler = machine.add_breakpoint(guest->at("nmi_handler"), {k1});
  ASSERT_OK(handler);
  ASSERT_OK(machine.watch_ipis(icr_stores(*guest), {}));
  const auto registers = machine.registers(k1);
  ASSERT_OK(registers);
  const auto passes = guest->number("counters", k1);
  ASSERT_OK(machine.snapshot("armed"));
  const unsigned trials = GetParam().many_restores;
  Usage before;
  for (unsigned trial = 0; trial < trials; ++trial) {
    SCOPED_TRACE(trial);
    // By then whatever is made once has been made.
    if (trial == trials / 4) before = usage(GetParam(), machine);
    ASSERT_OK(machine.restore("armed"));
    ASSERT_EQ(machine.registers(k1)->rip, registers->rip);
    ASSERT_EQ(guest->number("counters", k1), passes);
    if (trial % 2 == 0) {
      ASSERT_OK(machine.inject_nmi(k1));
    } else {
      guest->command(k0, Command::kNmiToOthers);
      const auto event = guest->run();
      ASSERT_EVENT(IpiSent, event);
      ASSERT_EQ(std::get<IpiSent>(event).ipi.source, k0);
    }
    const auto event = guest->run();
    ASSERT_EVENT(BreakpointHit, event);
    const auto& hit = std::get<BreakpointHit>(event);
    ASSERT_EQ(hit.id, *handler);
    ASSERT_EQ(hit.vcpu, k1);
    ASSERT_EQ(machine.registers(k1)->rip, guest->at("nmi_handler").value);
    ASSERT_EQ(guest->number("nmis", k1), 0U);
    // Some trials go on: the guest writes, and is stopped anywhere.
    if (trial % 8 != 0) continue;
    guest->command(k1, Command::kRepeat);
    guest->work({k0, k1}, 3);
    ASSERT_EQ(guest->number("nmis", k1), 1U);
  }
  const auto after = usage(GetParam(), machine);
  EXPECT_LE(after.files, before.files + kComingAndGoing);
  EXPECT_LE(after.threads, before.threads + kComingAndGoing);
  constexpr std::uint64_t kAllowedKib = std::uint64_t{16} * 1024;
  EXPECT_LE(after.resident_kib, before.resident_kib + kAllowedKib);
}

TEST_P(Stress, MachinesThatAreDestroyedWhileTheyRunLeaveNothing) {
  constexpr int kMachines = 16;
  std::size_t files = 0;
  std::size_t threads = 0;
  for (int made = 0; made <= kMachines; ++made) {
    if (made == kMachines / 4) {
      files = entries("/proc/self/fd");
      threads = entries("/proc/self/task");
    }
    if (made == kMachines) break;
    auto guest = at_work(2);
    ASSERT_NE(guest, nullptr);
    ASSERT_OK(guest->machine().resume());
  }
  EXPECT_LE(entries("/proc/self/fd"), files + kComingAndGoing);
  EXPECT_LE(entries("/proc/self/task"), threads + kComingAndGoing);
}

PANICROOM_ON_EVERY_ENGINE(Stress);

}  // namespace
}  // namespace panicroom::hypervisor
