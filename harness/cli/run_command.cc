// `panicroom run`: from scenario files to a report and an exit status.
#include <fmt/chrono.h>
#include <fmt/core.h>
#include <google/protobuf/util/time_util.h>
#include <unistd.h>

#include <ctime>
#include <iostream>

#include "base/file.h"
#include "harness/cli/commands.h"
#include "harness/cli/kernel_choice.h"
#include "harness/cli/signals.h"
#include "harness/report/json.h"
#include "harness/report/matrix.h"
#include "harness/report/progress.h"
#include "harness/report/report_files.h"
#include "harness/report/summary.h"
#include "harness/report/tally.h"
#include "harness/report/words.h"
#include "harness/scenario/parser.h"
#include "harness/scenario/tiers.h"
#include "harness/session/engine.h"
#include "harness/session/machine_folder.h"
#include "harness/session/runner.h"

namespace panicroom::cli {
namespace {

std::filesystem::path default_out() {
  const std::time_t now = std::time(nullptr);
  return fmt::format("panicroom-out/{:%Y%m%d-%H%M%S}", fmt::localtime(now));
}

class RunCommand {
 public:
  explicit RunCommand(const RunOptions& options)
      : options_(options),
        terminal_(harness::inspect_terminal(STDERR_FILENO)),
        progress_(harness::make_progress(std::cerr, terminal_)) {}

  Result<int> run(harness::TierSelection selection);

 private:
  Result<std::vector<harness::KernelSource>> kernel_sources();
  Result<> write_report(const v1::Report& report) const;
  Result<> write_reports();
  void show_scenario(const harness::RunGroup& trials);
  void print(const std::string& lines);

  const RunOptions& options_;
  harness::Terminal terminal_;
  std::unique_ptr<harness::Progress> progress_;
  std::filesystem::path out_;
  harness::SummaryStyle style_;
  std::string shown_platform_;  // What the last scenario's line stands under.
  v1::Report report_;
};

// One kernel is wanted or nothing is, and then the command ends at once. Of several, those that cannot be had are no
// reason to give up the others.
Result<std::vector<harness::KernelSource>> RunCommand::kernel_sources() {
  const auto refs = TRY(choose_kernels(options_.kernels, *progress_));
  if (refs.size() == 1) {
    auto image = TRY(load_kernel(refs.front(), stages_of(refs.front(), *progress_)));
    return std::vector<harness::KernelSource>{
        {refs.front().text(),
         [image](const harness::StageSink& /*on_stage*/) -> Result<decltype(image)> { return image; }}};
  }
  std::vector<harness::KernelSource> sources;
  sources.reserve(refs.size());
  for (const auto& ref : refs) {
    sources.push_back({ref.text(), [ref](const harness::StageSink& on_stage) { return load_kernel(ref, on_stage); }});
  }
  return sources;
}

// The summary is the command's result and goes to standard output; the status line below it is not, and does not.
void RunCommand::print(const std::string& lines) {
  progress_->write_above([&] {
    // Not fmt::print(), which throws when nobody reads any more.
    std::fwrite(lines.data(), 1, lines.size(), stdout);
    std::fflush(stdout);
  });
}

void RunCommand::show_scenario(const harness::RunGroup& trials) {
  auto here = harness::platform(*trials.front());
  const std::string heading = here == shown_platform_ ? "" : here + "\n";
  shown_platform_ = std::move(here);
  print(heading + harness::scenario_line(trials, style_) + harness::failure_text(trials, style_));
}

Result<> RunCommand::write_report(const v1::Report& report) const {
  return write_file(out_ / harness::kReportFile, TRY(harness::report_to_json(report)));
}

Result<> RunCommand::write_reports() {
  TRY(write_report(report_));
  return harness::write_report_files(report_, {options_.json, options_.junit, options_.ktap});
}

Result<int> RunCommand::run(harness::TierSelection selection) {
  harness::Cancellation cancellation;
  const SignalWatcher signals(cancellation);
  report_.set_panicroom_version(PANICROOM_VERSION);
  *report_.mutable_started() = google::protobuf::util::TimeUtil::GetCurrentTime();

  harness::RunRequest request;
  request.kernels = TRY(kernel_sources());
  if (options_.capture_kernel) {
    const auto ref = TRY(kernels::KernelRef::parse(*options_.capture_kernel));
    request.capture = TRY(load_kernel(ref, stages_of(ref, *progress_)));
  }

  progress_->show({.subject = "measuring the engines"});
  const auto engine = TRY(harness::make_engine(options_.engine, *report_.mutable_host()));
  request.engine = engine.name;
  request.factory = engine.factory;
  request.repeat = options_.repeat;
  request.jobs = options_.jobs;
  out_ = options_.out.empty() ? default_out() : options_.out;
  TRY(make_directories(out_));
  request.out = out_;
  const auto machines = TRY(harness::MachineFolder::make(TRY(kernels::default_cache_dir()) / "machines"));
  request.directory = machines.path();

  style_.colour = harness::inspect_terminal(STDOUT_FILENO).colour;
  style_.out = out_;
  for (const auto& scenario : selection.scenarios) {
    style_.scenario_width = std::max(style_.scenario_width, scenario.name.size());
  }
  request.scenarios = std::move(selection.scenarios);
  const harness::RunCallbacks callbacks{
      .on_scenario = [&](const harness::RunGroup& trials) { show_scenario(trials); },
      .on_decided =
          [&](const v1::Report& decided) {
            // What is decided is kept even if this process is killed. The last report tells of a disk that is full.
            [[maybe_unused]] const auto kept = write_report(decided);
          },
  };
  TRY(write_report(report_));  // An earlier run's is not to be taken for this one's.
  progress_->clear();
  const auto ended = harness::run_scenarios(request, callbacks, *progress_, cancellation, report_);
  progress_->clear();
  if (const auto table = harness::matrix(report_, style_.colour); !table.empty()) print("\n" + table + "\n");
  print(harness::totals_line(harness::tally(report_)));
  if (!selection.left_out.empty()) {
    print(fmt::format("left out: {} (--tier runs them)\n", harness::to_text(selection.left_out)));
  }
  const auto written = write_reports();
  if (!ended) return ended.error();
  TRY(written);
  print(fmt::format("logs and report.json are in {}\n", out_.native()));
  return harness::exit_status(report_);
}

}  // namespace

int run(const RunOptions& options) {
  auto parsed = harness::load(options.scenarios);
  if (!parsed.diagnostics.empty()) {
    fmt::print(stderr, "{}", harness::render(parsed.diagnostics));
    return kWrongInput;
  }
  auto selection = harness::select_tiers(std::move(parsed.scenarios), options.tiers);
  if (!selection) return fail(selection.error());
  const auto status = RunCommand(options).run(*std::move(selection));
  return status ? *status : fail(status.error());
}

}  // namespace panicroom::cli
