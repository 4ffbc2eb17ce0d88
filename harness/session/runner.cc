#include "harness/session/runner.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/file.h"
#include "harness/director/trial.h"
#include "harness/observer/verdict.h"
#include "harness/plan/plan.h"
#include "harness/session/log_file.h"

namespace panicroom::harness {
namespace {

using google::protobuf::util::TimeUtil;
using hypervisor::Clock;
using kernels::KernelImage;

// One trial that is to be run, and the report's entry for it.
struct Item {
  const Scenario* scenario = nullptr;
  const KernelImage* kernel = nullptr;
  const KernelImage* capture = nullptr;
  std::uint32_t repeat = 1;
  v1::Run* run = nullptr;
  std::size_t block = 0;  // Items of one scenario on one kernel.
};

// The trials that can share a machine, in the order in which they were asked for.
struct Group {
  MachineRecipe recipe;
  std::vector<Item> items;
  std::size_t number = 0;
};

MachineRecipe recipe_of(const Item& item) {
  return {item.kernel, item.capture, item.scenario->machine, item.scenario->workload, item.scenario->kernel_cmdline};
}

// A group's machine while its trials run.
struct MachineSlot {
  std::unique_ptr<ArmedMachine> machine;  // Null before the first boot, and after a trial that it did not survive.
  std::optional<Error> refused;           // It cannot be had: true for every trial that needs it.
};

class Session {
 public:
  Session(const RunRequest& request, const RunCallbacks& callbacks, Progress& progress, Cancellation& cancellation,
          v1::Report& report)
      : request_(request), callbacks_(callbacks), progress_(progress), cancellation_(cancellation), report_(report) {}

  Result<> run();

 private:
  void prepare();
  void work();
  void run_group(const Group& group);
  Result<> run_item(const Group& group, const Item& item, MachineSlot& slot);
  // Leaves a machine in the slot, at its snapshot.
  Result<> prepare_machine(const Group& group, const Item& item, MachineSlot& slot);
  void finish(const Item& item);
  void show(const Item& item, std::string_view stage);

  const RunRequest& request_;
  const RunCallbacks& callbacks_;
  Progress& progress_;
  Cancellation& cancellation_;
  v1::Report& report_;
  std::vector<Group> groups_;
  std::vector<std::vector<v1::Run*>> blocks_;  // By Item::block.
  std::vector<std::size_t> left_;              // Trials of each block that have not ended.
  std::atomic<std::size_t> next_group_ = 0;
  std::mutex mutex_;                           // left_ and the callback.
  std::set<const v1::Run*> ended_;
};

void Session::prepare() {
  const std::size_t total = request_.kernels.size() * request_.scenarios.size() * request_.repeat;
  report_.mutable_runs()->Reserve(static_cast<int>(total));  // So that no entry moves while others are filled.
  for (const auto& kernel : request_.kernels) {
    const KernelImage* capture = request_.capture ? request_.capture.get() : kernel.get();
    for (const Scenario& scenario : request_.scenarios) {
      const std::size_t block = blocks_.size();
      blocks_.emplace_back();
      left_.push_back(request_.repeat);
      for (std::uint32_t repeat = 1; repeat <= request_.repeat; ++repeat) {
        v1::Run& run = *report_.add_runs();
        run.set_scenario(scenario.name);
        run.set_file(scenario.file.native());
        run.set_kernel_release(kernel->release());
        run.set_capture_kernel_release(capture->release());
        run.set_engine(request_.engine);
        run.set_repeat(repeat);
        for (const auto cpu : scenario.machine.pin) run.add_pin(cpu);
        run.set_artifacts(fmt::format("{}/{}/{}", kernel->release(), scenario.name, repeat));
        blocks_.back().push_back(&run);
        const Item item{&scenario, kernel.get(), capture, repeat, &run, block};
        const auto same = [&, recipe = recipe_of(item)](const Group& group) { return group.recipe == recipe; };
        auto group = std::ranges::find_if(groups_, same);
        if (group == groups_.end()) {
          groups_.push_back({recipe_of(item), {}, groups_.size() + 1});
          group = groups_.end() - 1;
        }
        group->items.push_back(item);
      }
    }
  }
}

void Session::show(const Item& item, std::string_view stage) {
  progress_.show({.subject = item.scenario->name,
                  .trial = item.repeat,
                  .trials = request_.repeat,
                  .stage = std::string(stage)});
}

Result<> Session::prepare_machine(const Group& group, const Item& item, MachineSlot& slot) {
  if (slot.refused) return *slot.refused;
  // A machine that cannot go back is no machine any more, which is no reason to give this trial up.
  if (slot.machine) {
    const auto restored = slot.machine->restore();
    if (restored || restored.error().kind() == ErrorKind::kCancelled) return restored;
  }
  slot.machine.reset();
  const BootOptions options{
      .factory = request_.factory,
      .directory = request_.directory / fmt::format("m{}", group.number),
      .log_directory = request_.out / item.kernel->release() / fmt::format("machine-{}", group.number),
      .cancellation = cancellation_,
      .on_stage = [&](std::string_view stage) { show(item, stage); },
  };
  auto booted = ArmedMachine::boot(group.recipe, options);
  if (!booted) {
    slot.refused = booted.error();
    return booted.error();
  }
  slot.machine = *std::move(booted);
  return {};
}

Result<> Session::run_item(const Group& group, const Item& item, MachineSlot& slot) {
  const Plan plan = TRY(make_plan(*item.scenario, *item.kernel));
  TRY(prepare_machine(group, item, slot));
  ArmedMachine& armed = *slot.machine;
  for (const auto capability : item.scenario->requires_.capabilities) {
    if (!armed.machine().can(capability)) {
      return unsupported("the scenario requires {}, which the engine {} does not have", hypervisor::name(capability),
                         armed.machine().engine());
    }
  }
  item.run->set_engine(armed.machine().engine());
  item.run->set_kaslr_slide(armed.kernel().slide().bytes);
  const auto folder = request_.out / item.run->artifacts();
  auto console = TRY(LogFile::create(folder / "console.log"));
  auto agent_log = TRY(LogFile::create(folder / "agent.log"));
  const TrialSetup setup{
      .machine = armed.machine(),
      .scenario = *item.scenario,
      .plan = plan,
      .kernel = armed.kernel(),
      .capture = *item.capture,
      .sinks = {.console = [&](std::string_view bytes) { console.write(bytes); },
                .agent_log =
                    [&](std::string_view line) {
                      agent_log.write(line);
                      agent_log.write("\n");
                    },
                .stage = [&](std::string_view stage) { show(item, stage); }},
  };
  auto result = run_trial(setup, *item.run);
  if (!result) slot.machine.reset();
  TRY(std::move(result));
  TRY(console.status());
  TRY(agent_log.status());
  return {};
}

void Session::finish(const Item& item) {
  const std::lock_guard lock(mutex_);
  ended_.insert(item.run);
  if (--left_[item.block] > 0 || !callbacks_.on_scenario) return;
  callbacks_.on_scenario({blocks_[item.block].begin(), blocks_[item.block].end()});
}

void Session::run_group(const Group& group) {
  MachineSlot slot;
  for (const Item& item : group.items) {
    if (cancellation_.requested()) break;
    show(item, "");
    const auto started = Clock::now();
    const auto result = run_item(group, item, slot);
    *item.run->mutable_wall() = TimeUtil::NanosecondsToDuration((Clock::now() - started).count());
    if (!result && result.error().kind() == ErrorKind::kCancelled) break;
    if (!result) set_undecided(result.error(), *item.run);
    decide_verdict(item.scenario->expect, *item.run);
    finish(item);
  }
}

void Session::work() {
  for (std::size_t group = next_group_++; group < groups_.size(); group = next_group_++) {
    if (cancellation_.requested()) return;
    run_group(groups_[group]);
  }
}

Result<> Session::run() {
  prepare();
  std::vector<std::jthread> helpers;
  for (std::uint32_t job = 1; job < request_.jobs && job < groups_.size(); ++job) helpers.emplace_back([this] { work(); });
  work();
  helpers.clear();
  if (!cancellation_.requested()) return {};
  auto& runs = *report_.mutable_runs();
  const auto gone = std::stable_partition(runs.pointer_begin(), runs.pointer_end(),
                                          [&](const v1::Run* run) { return ended_.contains(run); });
  runs.DeleteSubrange(static_cast<int>(gone - runs.pointer_begin()), static_cast<int>(runs.pointer_end() - gone));
  return Error(ErrorKind::kCancelled, "cancelled");
}

}  // namespace

Result<> run_scenarios(const RunRequest& request, const RunCallbacks& callbacks, Progress& progress,
                       Cancellation& cancellation, v1::Report& report) {
  return Session(request, callbacks, progress, cancellation, report).run();
}

}  // namespace panicroom::harness
