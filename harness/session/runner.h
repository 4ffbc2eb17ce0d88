// Runs scenarios on kernels: boots what must be booted, restores what can be restored, and fills the report.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "harness/report/progress.h"
#include "harness/scenario/scenario.h"
#include "harness/session/armed_machine.h"
#include "harness/session/cancellation.h"
#include "harness/session/kernel_lease.h"
#include "kernels/image/kernel_image.h"
#include "panicroom/v1/events.pb.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

struct RunRequest {
  std::vector<Scenario> scenarios;
  std::vector<KernelSource> kernels;  // Each is loaded for its first trial and dropped after its last.
  std::shared_ptr<const kernels::KernelImage> capture;  // Null: each kernel captures its own.
  std::uint32_t repeat = 1;
  std::uint32_t jobs = 1;  // Machines at a time.
  std::string engine;      // For the report: "qemu (tcg)".
  MachineFactory factory;
  hypervisor::GuestPace pace = {};  // The engine's.
  std::filesystem::path out;        // Where logs go.
  std::filesystem::path directory;  // Where machines keep their files; emptied of them at the end.
};

struct RunCallbacks {
  // A scenario's last trial on a kernel has ended. From any thread, one at a time. The runs live as long as the report.
  std::function<void(const std::vector<const v1::Run*>& trials)> on_scenario;
  // Called after on_scenario, in the same way: the report so far, with the runs that are decided and no others.
  std::function<void(const v1::Report& decided)> on_decided;
  // What a trial's events.jsonl is told, when it is. From any thread, those of several machines at the same time.
  // `trial` is Run.artifacts.
  std::function<void(const std::string& trial, const v1::Event& event)> on_event;
};

// Every trial gets an entry in report.runs, whatever happens; the order is kernel, scenario, repeat. Trials that share
// a machine are run on one boot, so they may end in another order. A kernel that cannot be loaded makes its runs
// VERDICT_ERROR, with its reference for a release, and the others go on. An error is only what concerns all of them:
// kCancelled, with the trials that had not ended left out of the report.
Result<> run_scenarios(const RunRequest& request, const RunCallbacks& callbacks, Progress& progress,
                       Cancellation& cancellation, v1::Report& report);

}  // namespace panicroom::harness
