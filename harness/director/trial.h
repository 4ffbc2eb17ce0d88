// One trial: a restored machine is driven through a scenario's timeline until it is decided what the guest did.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "agent/protocol/config.h"
#include "base/result.h"
#include "harness/director/capture_image_check.h"
#include "harness/observer/journal.h"
#include "harness/observer/memory_truth.h"
#include "harness/observer/running_kernel.h"
#include "harness/plan/plan.h"
#include "harness/scenario/scenario.h"
#include "hypervisor/guest_pace.h"
#include "hypervisor/machine.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// Where the trial's bytes go, as they come. Called from the thread that runs the trial.
struct TrialSinks {
  std::function<void(std::string_view)> console;
  std::function<void(std::string_view)> agent_log;  // One line of text for each message.
};

struct TrialSetup {
  hypervisor::Machine& machine;  // Stopped, armed, no breakpoints, nobody held.
  const Scenario& scenario;
  const Plan& plan;
  const RunningKernel& kernel;
  const kernels::KernelImage& capture;
  std::chrono::nanoseconds boot_time;                    // What the machine once took to be armed.
  agent::KexecCall kexec = agent::KexecCall::kFileLoad;  // How it was.
  CaptureImageCheck& image_check;                        // The machine's.
  const MemoryPlan& memory;                              // What of the machine's memory is compared with the dump.
  Journal& journal;                                      // New, of the run that the trial fills.
  TrialSinks sinks;
  std::filesystem::path folder;           // For files of the trial's own: a dump that is saved.
  std::span<const Gpa> start_pages = {};  // Of starts(scenario), as the machine's agent said.
  bool sample_places = true;              // False only where the cost of looking is measured.
  hypervisor::GuestPace pace = {};        // The engine's: what a guest may take is so much longer.
};

class Driver;

enum class AfterTrial {
  kReusable,  // The machine is stopped, its breakpoints and holds are gone: it can be restored.
  kSpent,     // It has ended with its guest, or could not be cleaned up.
};

// Fills the journal, and by it outcome, detail, stages, steps, ipis, places and dump of its run, but no verdict. An
// error means that the trial could not be carried out; what was seen until then stands in the journal, and the machine
// is spent.
Result<AfterTrial> run_trial(const TrialSetup& setup);

// The same with somebody else in the place of the scenario's timeline, which must be empty. The driver may end the
// trial before its outcome is decided.
Result<AfterTrial> run_trial(const TrialSetup& setup, Driver& driver);

}  // namespace panicroom::harness
