// panicroom_bench_reporting SCENARIO KERNEL FOLDER TRIALS: what looking and writing down costs a trial. One machine is
// booted; then trials alternate between those that are recorded as `panicroom run` records them, with the vCPUs' places
// at every stop and events.jsonl, and those of which only the logs are kept, as the report did without events. Last,
// the page of the recorded ones is made. Prints medians, and what was added in proportion.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "harness/observer/verdict.h"
#include "harness/page/page.h"
#include "harness/scenario/parser.h"
#include "harness/session/armed_machine.h"
#include "harness/session/engine.h"
#include "harness/session/recording.h"

namespace panicroom {
namespace {

using harness::Recording;
using hypervisor::Clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Of this process, on all CPUs. QEMU is another.
double cpu_seconds_since(std::clock_t begin) {
  return static_cast<double>(std::clock() - begin) / static_cast<double>(CLOCKS_PER_SEC);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const auto middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Seconds from the restored machine to the outcome.
Result<double> run_trial(harness::ArmedMachine& armed, const harness::Scenario& scenario, const harness::Plan& plan,
                         const kernels::KernelImage& kernel, bool recorded, const std::filesystem::path& folder,
                         v1::Run& run) {
  TRY(armed.restore());
  const auto begin = Clock::now();
  auto recording = TRY(Recording::create(folder, run, {}));
  harness::Journal plain(run, {});
  const harness::TrialSetup setup{.machine = armed.machine(),
                                  .scenario = scenario,
                                  .plan = plan,
                                  .kernel = armed.kernel(),
                                  .capture = kernel,
                                  .boot_time = armed.boot_time(),
                                  .image_check = armed.image_check(),
                                  .memory = armed.memory(),
                                  .journal = recorded ? recording->journal() : plain,
                                  .sinks = recording->sinks(),
                                  .folder = folder,
                                  .start_pages = armed.start_pages(),
                                  .sample_places = recorded};
  if (TRY(harness::run_trial(setup)) == harness::AfterTrial::kSpent) return host_error("the machine is spent");
  harness::decide_verdict(scenario.expected_on(kernel.release()), run);
  setup.journal.verdict();
  TRY(recording->status());
  const double took = seconds_since(begin);
  if (run.verdict() != v1::VERDICT_PASS) return host_error("a trial did not pass: {}", run.detail());
  return took;
}

Result<> measure(const std::filesystem::path& scenario_file, const std::filesystem::path& kernel_file,
                 const std::filesystem::path& folder, int trials) {
  const std::array paths = {scenario_file};
  const auto parsed = harness::load(paths);
  if (!parsed.diagnostics.empty() || parsed.scenarios.size() != 1) {
    return invalid_input("{} is not one scenario without mistakes: see panicroom check", scenario_file.native());
  }
  const auto& scenario = parsed.scenarios.front();
  const auto kernel = TRY(kernels::KernelImage::load(kernel_file));
  const auto plan = TRY(harness::make_plan(scenario, kernel));
  v1::Report report;
  const auto engine = TRY(harness::make_engine("qemu", *report.mutable_host()));
  harness::Cancellation cancellation;
  const harness::BootOptions options{.factory = engine.factory,
                                     .directory = folder / "machine",
                                     .log_directory = folder / "boot",
                                     .cancellation = cancellation,
                                     .on_stage = [](std::string_view) {}};
  const auto armed = TRY(harness::ArmedMachine::boot({.kernel = &kernel,
                                                      .capture = &kernel,
                                                      .machine = scenario.machine,
                                                      .workload = scenario.workload,
                                                      .extra_cmdline = scenario.kernel_cmdline},
                                                     options));
  std::vector<double> with;
  std::vector<double> without;
  std::vector<double> cpu_with;
  std::vector<double> cpu_without;
  std::uintmax_t event_bytes = 0;
  for (int i = 0; i < 2 * trials; ++i) {
    const bool recorded = (i % 2 == 0) == (i % 4 < 2);  // Neither kind always follows the other.
    v1::Run run;
    run.set_scenario(scenario.name);
    run.set_artifacts(fmt::format("trials/{}", i));
    const auto cpu = std::clock();
    const auto took = TRY(run_trial(*armed, scenario, plan, kernel, recorded, folder / run.artifacts(), run));
    (recorded ? with : without).push_back(took);
    (recorded ? cpu_with : cpu_without).push_back(cpu_seconds_since(cpu));
    if (!recorded) continue;
    event_bytes += std::filesystem::file_size(folder / run.artifacts() / harness::kEventsFile);
    *report.add_runs() = std::move(run);
  }
  const auto begin = Clock::now();
  const auto page_cpu = std::clock();
  const auto page = TRY(harness::report_page(report, folder));
  TRY(write_file(folder / harness::kPageFile, page));
  const double page_seconds = seconds_since(begin) / trials;
  const double page_cpu_seconds = cpu_seconds_since(page_cpu) / trials;

  const double base = median(without);
  const double recorded = median(with);
  fmt::print("{}: {} trials each, alternating\n", scenario.name, trials);
  fmt::print("without events:        median {:7.3f} s\n", base);
  fmt::print("with places, events:   median {:7.3f} s   ratio {:.3f}   ({} bytes of events a trial)\n", recorded,
             recorded / base, event_bytes / static_cast<std::uintmax_t>(trials));
  fmt::print("the page, per trial:          {:7.3f} s   ({} bytes)\n", page_seconds, page.size());
  // On a host with other load these say more than the ratios, which are then noise.
  fmt::print("panicroom's own CPU:   {:.3f} s without, {:.3f} s with, {:.3f} s for the page\n", median(cpu_without),
             median(cpu_with), page_cpu_seconds);
  fmt::print("ratio with the page:   {:.3f}   (at most 1.05 is asked)\n", (recorded + page_seconds) / base);
  return {};
}

int main_with(int argc, char** argv) {
  const std::span arguments(argv, static_cast<std::size_t>(argc));
  int trials = 0;
  if (arguments.size() == 5) {
    const std::string_view number = arguments[4];
    std::from_chars(number.data(), number.data() + number.size(), trials);
  }
  if (trials < 1) {
    fmt::print(stderr, "usage: {} SCENARIO KERNEL FOLDER TRIALS\n", arguments[0]);
    return 2;
  }
  if (const auto measured = measure(arguments[1], arguments[2], arguments[3], trials); !measured) {
    fmt::print(stderr, "{}\n", measured.error().message());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace panicroom

int main(int argc, char** argv) {
  try {
    return panicroom::main_with(argc, argv);
  } catch (...) {
    std::fputs("an exception: out of memory, most likely\n", stderr);
    return 1;
  }
}
