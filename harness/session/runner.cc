#include "harness/session/runner.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "base/file.h"
#include "harness/director/trial.h"
#include "harness/observer/verdict.h"
#include "harness/plan/plan.h"
#include "harness/session/recording.h"

namespace panicroom::harness {
namespace {

using google::protobuf::util::TimeUtil;
using hypervisor::Clock;
using kernels::KernelImage;

// One trial that is to be run, and the report's entry for it.
struct Item {
  const Scenario* scenario = nullptr;
  std::uint32_t repeat = 1;
  v1::Run* run = nullptr;
  std::size_t block = 0;  // Items of one scenario on one kernel.
};

// The trials that can share a machine, in the order in which they were asked for.
struct Group {
  std::size_t kernel = 0;  // Index in the request.
  std::vector<Item> items;
  std::size_t number = 0;  // From 1.
};

// Whether trials of both on one kernel can share a machine; see MachineRecipe.
bool share_machine(const Scenario& left, const Scenario& right) {
  return left.machine == right.machine && left.from == right.from && left.workload == right.workload &&
         left.kernel_cmdline == right.kernel_cmdline && left.save_dump == right.save_dump &&
         starts(left) == starts(right);
}

// A group's machine while its trials run.
struct MachineSlot {
  MachineRecipe recipe;
  std::unique_ptr<ArmedMachine> machine;  // Null before the first boot, and after a trial that it did not survive.
  std::optional<Error> refused;           // It cannot be had: true for every trial that needs it.
  int failed_boots = 0;                   // In a row, by the host's fault.
};

constexpr int kMaxFailedBoots = 2;

class Session {
 public:
  Session(const RunRequest& request, const RunCallbacks& callbacks, Progress& progress, Cancellation& cancellation,
          v1::Report& report)
      : request_(request), callbacks_(callbacks), progress_(progress), cancellation_(cancellation), report_(report) {}

  Result<> run();

 private:
  void prepare();
  void add_runs(std::size_t kernel);
  void work();
  Result<std::shared_ptr<const KernelImage>> load(const Group& group);
  // The kernel's release is known now: so its runs get it, and a folder for their logs.
  void name_runs(std::size_t kernel, const KernelImage& image);
  void run_group(const Group& group);
  // `recording` is there from the moment that the trial itself begins.
  Result<> run_item(const Group& group, const Item& item, MachineSlot& slot, std::unique_ptr<Recording>& recording);
  Result<> run_item_safely(const Group& group, const Item& item, MachineSlot& slot,
                           std::unique_ptr<Recording>& recording);
  // Leaves a machine in the slot, at its snapshot.
  Result<> prepare_machine(const Group& group, const Item& item, MachineSlot& slot);
  void decide(const Item& item, const Result<>& result, Recording* recording = nullptr);
  [[nodiscard]] v1::Report decided() const;
  void show(const Group& group, const Item& item, std::string_view stage);

  const RunRequest& request_;
  const RunCallbacks& callbacks_;
  Progress& progress_;
  Cancellation& cancellation_;
  v1::Report& report_;
  std::vector<Group> groups_;       // Those of a kernel follow each other.
  std::deque<KernelLease> leases_;  // By kernel; so is the next.
  std::vector<std::vector<v1::Run*>> runs_;
  std::vector<std::vector<v1::Run*>> blocks_;  // By Item::block.
  std::atomic<std::size_t> next_group_ = 0;
  std::mutex mutex_;               // What follows, and the callbacks.
  std::vector<std::size_t> left_;  // Trials of each block that have not ended.
  std::set<const v1::Run*> ended_;
  std::set<std::string> folders_;  // Those that have been given to kernels.
};

// A kernel's release as the name of a folder: it comes out of an image, which can say anything.
std::string folder_name(const std::string& release) {
  std::string name = release;
  std::ranges::replace(name, '/', '_');
  return name.empty() || name == "." || name == ".." ? "kernel" : name;
}

void Session::prepare() {
  const std::size_t total = request_.kernels.size() * request_.scenarios.size() * request_.repeat;
  report_.mutable_runs()->Reserve(static_cast<int>(total));  // So that no entry moves while others are filled.
  for (std::size_t kernel = 0; kernel < request_.kernels.size(); ++kernel) {
    const auto first_group = groups_.size();
    runs_.emplace_back();
    add_runs(kernel);
    leases_.emplace_back(request_.kernels[kernel], groups_.size() - first_group);
  }
}

void Session::add_runs(std::size_t kernel) {
  const auto first_group = static_cast<std::ptrdiff_t>(groups_.size());
  const auto& reference = request_.kernels[kernel].reference;
  for (const Scenario& scenario : request_.scenarios) {
    const auto same = [&](const Group& group) { return share_machine(*group.items.front().scenario, scenario); };
    auto group = std::find_if(groups_.begin() + first_group, groups_.end(), same);
    if (group == groups_.end()) {
      groups_.push_back({.kernel = kernel, .items = {}, .number = groups_.size() + 1});
      group = groups_.end() - 1;
    }
    const std::size_t block = blocks_.size();
    blocks_.emplace_back();
    left_.push_back(request_.repeat);
    for (std::uint32_t repeat = 1; repeat <= request_.repeat; ++repeat) {
      v1::Run& run = *report_.add_runs();
      run.set_scenario(scenario.name);
      run.set_file(scenario.file.native());
      run.set_kernel_reference(reference);
      run.set_kernel_release(reference);  // Until it is known.
      run.set_capture_kernel_release(request_.capture ? request_.capture->release() : reference);
      run.set_engine(request_.engine);
      run.set_repeat(repeat);
      for (const auto cpu : scenario.machine.pin) run.add_pin(cpu);
      blocks_.back().push_back(&run);
      runs_.back().push_back(&run);
      group->items.push_back({&scenario, repeat, &run, block});
    }
  }
}

void Session::name_runs(std::size_t kernel, const KernelImage& image) {
  std::string folder = folder_name(image.release());
  {
    // Two images can have the same release.
    const std::lock_guard lock(mutex_);
    const auto name = folder;
    for (int i = 2; !folders_.insert(folder).second; ++i) folder = fmt::format("{}_{}", name, i);
  }
  for (v1::Run* run : runs_[kernel]) {
    run->set_kernel_release(image.release());
    if (!request_.capture) run->set_capture_kernel_release(image.release());
    run->set_artifacts(fmt::format("{}/{}/{}", folder, run->scenario(), run->repeat()));
  }
}

void Session::show(const Group& group, const Item& item, std::string_view stage) {
  progress_.show({.source = group.number,
                  .subject = request_.kernels.size() > 1
                                 ? fmt::format("{} on {}", item.scenario->name, item.run->kernel_release())
                                 : item.scenario->name,
                  .trial = item.repeat,
                  .trials = request_.repeat,
                  .stage = std::string(stage)});
}

Result<> Session::prepare_machine(const Group& group, const Item& item, MachineSlot& slot) {
  if (slot.refused) return *slot.refused;
  // A machine that cannot go back is no machine any more, which is no reason to give this trial up.
  if (slot.machine) {
    auto restored = slot.machine->restore();
    if (restored || restored.error().kind() == ErrorKind::kCancelled) return restored;
  }
  slot.machine.reset();
  const BootOptions options{
      .factory = request_.factory,
      .directory = request_.directory / fmt::format("m{}", group.number),
      .log_directory =
          (request_.out / item.run->artifacts()).parent_path().parent_path() / fmt::format("machine-{}", group.number),
      .cancellation = cancellation_,
      .on_stage = [&](std::string_view stage) { show(group, item, stage); },
      .pace = request_.pace,
  };
  auto booted = ArmedMachine::boot(slot.recipe, options);
  if (!booted) {
    // A host that is out of order for a moment does not condemn the trials to come; one that stays so does.
    const bool final = booted.error().kind() != ErrorKind::kHost || ++slot.failed_boots == kMaxFailedBoots;
    if (final) slot.refused = booted.error();
    return booted.error();
  }
  slot.failed_boots = 0;
  slot.machine = *std::move(booted);
  return {};
}

Result<> Session::run_item(const Group& group, const Item& item, MachineSlot& slot,
                           std::unique_ptr<Recording>& recording) {
  const Plan plan = TRY(make_plan(*item.scenario, *slot.recipe.kernel));
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
  Recording::EventSink on_event;
  if (callbacks_.on_event) {
    on_event = [this, trial = item.run->artifacts()](const v1::Event& event) { callbacks_.on_event(trial, event); };
  }
  recording = TRY(Recording::create(
      request_.out / item.run->artifacts(), *item.run, [&](std::string_view stage) { show(group, item, stage); },
      std::move(on_event)));
  const TrialSetup setup{
      .machine = armed.machine(),
      .scenario = *item.scenario,
      .plan = plan,
      .kernel = armed.kernel(),
      .capture = *slot.recipe.capture,
      .boot_time = armed.boot_time(),
      .kexec = armed.kexec(),
      .image_check = armed.image_check(),
      .memory = armed.memory(),
      .journal = recording->journal(),
      .sinks = recording->sinks(),
      .folder = request_.out / item.run->artifacts(),
      .start_pages = armed.start_pages(),
      .pace = armed.pace(),
  };
  const auto result = run_trial(setup);
  if (!result || *result == AfterTrial::kSpent) slot.machine.reset();
  if (!result) {
    // A trial that has begun cannot be one that was skipped.
    if (result.error().kind() == ErrorKind::kUnsupported) return host_error("{}", result.error().message());
    return result.error();
  }
  return recording->status();
}

// Without those that others are still filling.
v1::Report Session::decided() const {
  v1::Report so_far;
  so_far.set_panicroom_version(report_.panicroom_version());
  if (report_.has_host()) *so_far.mutable_host() = report_.host();
  if (report_.has_started()) *so_far.mutable_started() = report_.started();
  for (const v1::Run& run : report_.runs()) {
    if (ended_.contains(&run)) *so_far.add_runs() = run;
  }
  return so_far;
}

void Session::decide(const Item& item, const Result<>& result, Recording* recording) {
  if (!result) set_undecided(result.error(), *item.run);
  decide_verdict(item.scenario->expected_on(item.run->kernel_release()), *item.run);
  if (recording != nullptr) {
    recording->journal().verdict();
    if (const auto written = recording->status(); result && !written) set_undecided(written.error(), *item.run);
  }
  const std::lock_guard lock(mutex_);
  ended_.insert(item.run);
  if (--left_[item.block] > 0) return;
  if (callbacks_.on_scenario) callbacks_.on_scenario({blocks_[item.block].begin(), blocks_[item.block].end()});
  if (callbacks_.on_decided) callbacks_.on_decided(decided());
}

Result<std::shared_ptr<const KernelImage>> Session::load(const Group& group) {
  const auto subject = fmt::format("kernel {}", request_.kernels[group.kernel].reference);
  auto image = leases_[group.kernel].get(
      [&](std::string_view stage) {
        progress_.show({.source = group.number, .subject = subject, .stage = std::string(stage)});
      },
      [&](const KernelImage& loaded) { name_runs(group.kernel, loaded); });
  // A kernel that cannot be used is nothing that the scenario requires: no reason to skip.
  if (!image && image.error().kind() == ErrorKind::kUnsupported) {
    return Error(ErrorKind::kInvalidInput, image.error().message());
  }
  return image;
}

// Libraries throw when memory or threads run out; that ends a trial, and must not end the process with its guests.
Result<> Session::run_item_safely(const Group& group, const Item& item, MachineSlot& slot,
                                  std::unique_ptr<Recording>& recording) {
  try {
    return run_item(group, item, slot, recording);
  } catch (const std::exception& exception) {
    slot.machine.reset();
    return host_error("the trial ended by an exception: {}", exception.what());
  }
}

void Session::run_group(const Group& group) {
  const auto image = load(group);
  if (!image) {
    if (image.error().kind() == ErrorKind::kCancelled) return;
    for (const Item& item : group.items) {
      if (!cancellation_.requested()) decide(item, image.error());
    }
    return;
  }
  const Scenario& scenario = *group.items.front().scenario;
  MachineSlot slot{.recipe = {.kernel = image->get(),
                              .capture = request_.capture ? request_.capture.get() : image->get(),
                              .machine = scenario.machine,
                              .from = scenario.from,
                              .workload = scenario.workload,
                              .extra_cmdline = scenario.kernel_cmdline,
                              .save_dump = scenario.save_dump,
                              .starts = starts(scenario)},
                   .machine = nullptr,
                   .refused = std::nullopt};
  for (const Item& item : group.items) {
    if (cancellation_.requested()) break;
    show(group, item, "");
    const auto started = Clock::now();
    std::unique_ptr<Recording> recording;
    const auto result = run_item_safely(group, item, slot, recording);
    *item.run->mutable_wall() = TimeUtil::NanosecondsToDuration((Clock::now() - started).count());
    if (!result && result.error().kind() == ErrorKind::kCancelled) break;
    decide(item, result, recording.get());
  }
}

void Session::work() {
  for (std::size_t group = next_group_++; group < groups_.size(); group = next_group_++) {
    if (cancellation_.requested()) return;
    run_group(groups_[group]);
    leases_[groups_[group].kernel].done();
    progress_.end(groups_[group].number);
  }
}

Result<> Session::run() {
  prepare();
  std::vector<std::jthread> workers;
  for (std::uint32_t job = 1; job < request_.jobs && job < groups_.size(); ++job)
    workers.emplace_back([this] { work(); });
  work();
  workers.clear();
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
