// Compares the registers in a dump's notes with those that each CPU had when the crash stopped it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/protocol/agent.pb.h"
#include "harness/observer/crash_truth.h"

namespace panicroom::harness {

enum class RegisterState {
  kTrue,
  kStale,    // Those that the CPU had at an earlier moment.
  kUntrue,   // Those of no moment that was seen, or a CPU's that never saved any.
  kMissing,  // There is no note of this CPU's, or one without registers.
};
// "true", "stale", "untrue", "missing".
std::string_view name(RegisterState state);

struct RegisterFinding {
  VcpuId cpu{};
  RegisterState state = RegisterState::kMissing;
  // For people: the registers in which both differ, with their values.
  std::string expected;
  std::string actual;
  std::string trouble;  // One sentence that names the CPU; empty if the registers are true.
};

PrstatusRegisters registers_of(const agent::v1::Prstatus& note);
// A note that says nothing has every register zero.
bool has_registers(const agent::v1::Prstatus& note);

// One finding for each CPU of the machine, in their order. `notes` in the order of the dump.
std::vector<RegisterFinding> check_registers(const std::vector<agent::v1::Prstatus>& notes, const CrashTruth& truth);

}  // namespace panicroom::harness
