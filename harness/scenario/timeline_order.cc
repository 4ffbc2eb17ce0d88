// Which steps can never happen because of the steps before them.
#include <vector>

#include "harness/scenario/timeline_reader.h"
#include "harness/scenario/values.h"

namespace panicroom::harness {
namespace {

// What is known of one CPU between two steps.
struct CpuState {
  bool unknown = false;             // A step that was not understood may have held or released it.
  std::uint32_t held_by = 0;        // The step's number; 0: not held.
  std::uint32_t left_workload = 0;  // The step after which it never passes its workload again; 0: none.
};

bool ends_workload(const Action& action) {
  if (std::holds_alternative<DoPanic>(action)) return true;
  const auto* window = std::get_if<DoSpin>(&action);
  return window != nullptr && !window->for_time && !window->until;
}

// Such a step may lead the CPU anywhere, back to its workload too.
bool redirects(const Action& action) {
  return std::holds_alternative<DoSet>(action) || std::holds_alternative<DoSkip>(action) ||
         std::holds_alternative<DoStep>(action);
}

void check_reachable(const ReadStep& step, const CpuState& cpu, Diagnostics& diagnostics) {
  const std::uint32_t n = index(*step.cpu);
  if (!step.at || std::holds_alternative<Here>(*step.at) || step.action_word == "release") return;
  if (cpu.held_by != 0) {
    diagnostics.add(step.at_at, "CPU {} is held since step {}: it executes nothing, so it never comes to {}", n,
                    cpu.held_by, shown(to_text(*step.at)));
  } else if (cpu.left_workload != 0 && std::holds_alternative<AtWorkload>(*step.at)) {
    diagnostics.add(step.at_at, "CPU {} never passes its workload again after step {}", n, cpu.left_workload);
  }
}

void follow(const ReadStep& step, CpuState& cpu, Diagnostics& diagnostics) {
  const std::uint32_t n = index(*step.cpu);
  if (step.action_word == "hold") {
    if (cpu.held_by != 0) {
      diagnostics.add(step.action_at, "CPU {} is held already, since step {}", n, cpu.held_by);
    } else {
      cpu.held_by = step.number;
    }
  } else if (step.action_word == "release") {
    if (cpu.held_by == 0)
      diagnostics.add(step.action_at, "'release' of CPU {}, which no step before this one holds", n);
    cpu.held_by = 0;
  }
  if (!step.action) return;
  if (ends_workload(*step.action)) cpu.left_workload = step.number;
  if (redirects(*step.action)) cpu.left_workload = 0;
}

}  // namespace

void check_order(const std::vector<ReadStep>& steps, std::uint32_t vcpus, Diagnostics& diagnostics) {
  std::vector<CpuState> cpus(vcpus);
  for (const ReadStep& step : steps) {
    const bool understood = !step.action_word.empty();
    if (!step.cpu) {
      // It may be any CPU's; a step that neither holds nor releases leaves the others' state alone.
      const bool harmless = understood && step.action_word != "hold" && step.action_word != "release";
      for (CpuState& cpu : cpus) cpu.unknown = cpu.unknown || !harmless;
      continue;
    }
    CpuState& cpu = cpus[index(*step.cpu)];
    if (!understood) cpu.unknown = true;
    if (cpu.unknown) continue;
    check_reachable(step, cpu, diagnostics);
    follow(step, cpu, diagnostics);
  }
  bool all_held = !steps.empty();
  for (const CpuState& cpu : cpus) all_held = all_held && !cpu.unknown && cpu.held_by != 0;
  if (all_held) {
    diagnostics.add(steps.back().action_at, "every CPU is held when the timeline ends: nothing can happen any more");
  }
}

}  // namespace panicroom::harness
