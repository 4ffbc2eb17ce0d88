// Compares the memory in a dump with the machine's at the jump.
#pragma once

#include <string>
#include <vector>

#include "agent/protocol/agent.pb.h"
#include "harness/observer/crash_truth.h"

namespace panicroom::harness {

struct MemoryFinding {
  std::string name;  // "memory map", "memory: stacks".
  bool ok = false;
  std::string expected;
  std::string actual;
};

// Whether the dump's PT_LOADs hold all memory that a dump must hold. Nothing if that is not known.
std::optional<MemoryFinding> check_memory_map(const std::vector<agent::v1::Load>& loads, const CrashTruth& truth);

// One finding for each kind of sample that was taken. Where a CPU still ran at the jump, only what nothing writes must
// be equal. `registers_true`: every CPU's registers were found to be true, and so every CPU's stack was looked for
// where it is.
std::vector<MemoryFinding> check_samples(const std::vector<agent::v1::Sample>& samples, const CrashTruth& truth,
                                         bool registers_true);

}  // namespace panicroom::harness
