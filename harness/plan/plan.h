// A scenario on one kernel: every name in it turned into addresses, before anything boots.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "harness/scenario/scenario.h"
#include "kernels/image/kernel_image.h"
#include "kernels/points/resolver.h"

namespace panicroom::harness {

// An `at:` of this kernel. `at` is empty for events that are not places (ipi) and for Here.
struct PlannedPlace {
  std::vector<LinkAddress> at;
  kernels::PointCondition condition = kernels::PointCondition::kAlways;
};

// Where `cpu` is to pass for an `at:`. `workload`: as the scenario's, one for each CPU. kUnsupported if this kernel has
// no such place, kInvalidInput if the CPU's workload passes none.
Result<PlannedPlace> plan_at(const std::vector<std::string>& workload, const kernels::KernelImage& kernel, VcpuId cpu,
                             const At& at);

// A moment that the observer waits for in every run.
enum class StageKind {
  kPanicEntered,
  kOwnerElected,
  kCrashKexec,  // __crash_kexec() entered: on the way through oops, the first thing to be seen of the crash.
  kStoppedByCrashNmi,
  kStoppedByNmi,
  kStoppedByIrq,
  kStoppedItself,
  kJump,
  kResetBegun,
  // Moments that tell the truth about registers, and are no stages of the report.
  kNmiTaken,            // The first instruction behind an NMI: the vCPU's registers are those that it interrupted.
  kRegistersTakenDown,  // __crash_kexec() has just stored the registers of the CPU that it runs on.
  kRegistersSaved,      // crash_save_cpu() entered: these registers go into the CPU's note.
};
// The report's name of the stage: "panic-entered". Empty for what is no stage.
std::string_view name(StageKind kind);

struct PlannedStage {
  StageKind kind;
  PlannedPlace place;
};

struct Plan {
  std::vector<PlannedPlace> steps;   // As scenario.timeline.
  std::vector<PlannedPlace> untils;  // The end of steps[n]'s irqs-off or spin, where it is a place.
  std::vector<PlannedStage> stages;
  std::optional<LinkAddress> gate;  // Where Unfix::kPanicGate acts.
  LinkAddress panic;                // Where an injected panic goes.
  LinkAddress pause_loop;           // Where a CPU spins, if the scenario has such a step.
  std::vector<kernels::IcrStoreSite> icr_stores;
};

// kUnsupported if this kernel lacks a place that the scenario names, or does not meet its `requires:`; kHost if it
// lacks one that panicroom itself needs in every run.
Result<Plan> make_plan(const Scenario& scenario, const kernels::KernelImage& kernel);

}  // namespace panicroom::harness
