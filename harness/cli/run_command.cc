// `panicroom run`: from scenario files to a report and an exit status.
#include <fmt/core.h>
#include <google/protobuf/util/time_util.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "base/file.h"
#include "harness/cli/commands.h"
#include "harness/cli/kernel_choice.h"
#include "harness/cli/run_output.h"
#include "harness/cli/signals.h"
#include "harness/events/journalled_progress.h"
#include "harness/events/run_journal.h"
#include "harness/report/json.h"
#include "harness/report/progress.h"
#include "harness/report/report_files.h"
#include "harness/report/tally.h"
#include "harness/scenario/parser.h"
#include "harness/scenario/selection.h"
#include "harness/session/engine.h"
#include "harness/session/machine_folder.h"
#include "harness/session/runner.h"

namespace panicroom::cli {
namespace {

class RunCommand {
 public:
  explicit RunCommand(const RunOptions& options)
      : options_(options), shown_(harness::make_progress(std::cerr, harness::inspect_terminal(STDERR_FILENO))) {}

  // The exit status, or why there is none; the journal, if there is to be one, ends in the same.
  Result<int> run(harness::Selection selection);

 private:
  Result<int> run_selected(harness::Selection selection);
  Result<std::vector<harness::KernelSource>> kernel_sources();
  Result<> write_report(const v1::Report& report) const;
  Result<> write_reports();
  harness::RunCallbacks callbacks(RunOutput& output);
  void tell_begin(const harness::RunRequest& request);
  void tell_end(const Result<int>& status);

  const RunOptions& options_;
  std::unique_ptr<harness::Progress> shown_;
  std::unique_ptr<harness::RunJournal> journal_;  // Null: nobody wants one.
  std::unique_ptr<harness::Progress> journalled_;
  harness::Progress* progress_ = shown_.get();
  std::filesystem::path out_;
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

Result<> RunCommand::write_report(const v1::Report& report) const {
  return write_file(out_ / harness::kReportFile, TRY(harness::report_to_json(report)));
}

Result<> RunCommand::write_reports() {
  TRY(write_report(report_));
  return harness::write_report_files(report_, {options_.json, options_.junit, options_.ktap});
}

Result<int> RunCommand::run_selected(harness::Selection selection) {
  harness::Cancellation cancellation;
  const SignalWatcher signals(cancellation,
                              options_.journal ? SignalWatcher::Again::kIgnore : SignalWatcher::Again::kLeave);
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
  request.pace = engine.pace;
  request.repeat = options_.repeat;
  request.jobs = options_.jobs;
  out_ = options_.out.empty() ? default_out() : options_.out;
  TRY(make_directories(out_));
  request.out = out_;
  const auto machines = TRY(harness::MachineFolder::make(TRY(kernels::default_cache_dir()) / "machines"));
  request.directory = machines.path();

  std::size_t width = 0;
  for (const auto& scenario : selection.scenarios) width = std::max(width, scenario.name.size());
  RunOutput output(*progress_, out_, width);
  request.scenarios = std::move(selection.scenarios);
  TRY(write_report(report_));  // An earlier run's is not to be taken for this one's.
  if (journal_) tell_begin(request);
  progress_->clear();
  const auto ended = harness::run_scenarios(request, callbacks(output), *progress_, cancellation, report_);
  progress_->clear();
  output.totals(report_, selection.left_out);
  const auto written = write_reports();
  if (!ended) return ended.error();
  TRY(written);
  if (journal_) TRY(journal_->status());
  output.files();
  return harness::exit_status(report_);
}

harness::RunCallbacks RunCommand::callbacks(RunOutput& output) {
  harness::RunCallbacks callbacks{
      .on_scenario =
          [this, &output](const harness::RunGroup& trials) {
            output.scenario(trials);
            if (!journal_) return;
            for (const v1::Run* trial : trials) {
              v1::RunEvent event;
              auto& decided = *event.mutable_trial_decided();
              *decided.mutable_run() = *trial;
              decided.mutable_run()->clear_ipis();
              decided.set_trials(static_cast<std::uint32_t>(trials.size()));
              journal_->write(std::move(event));
            }
          },
      .on_decided =
          [this](const v1::Report& decided) {
            // What is decided is kept even if this process is killed. The last report tells of a disk that is full.
            [[maybe_unused]] const auto kept = write_report(decided);
          },
      .on_event = {},
  };
  if (journal_) {
    callbacks.on_event = [this](const std::string& trial, const v1::Event& happened) {
      v1::RunEvent event;
      event.mutable_trial()->set_trial(trial);
      *event.mutable_trial()->mutable_event() = happened;
      journal_->write(std::move(event));
    };
  }
  return callbacks;
}

void RunCommand::tell_begin(const harness::RunRequest& request) {
  v1::RunEvent event;
  auto& begun = *event.mutable_begun();
  *begun.mutable_host() = report_.host();
  begun.set_engine(request.engine);
  begun.set_kernels(static_cast<std::uint32_t>(request.kernels.size()));
  begun.set_scenarios(static_cast<std::uint32_t>(request.scenarios.size()));
  begun.set_trials(begun.kernels() * begun.scenarios() * request.repeat);
  journal_->write(std::move(event));
}

void RunCommand::tell_end(const Result<int>& status) {
  v1::RunEvent event;
  auto& conclusion = *event.mutable_conclusion();
  conclusion.set_exit_status(status ? *status : exit_status_of(status.error()));
  if (!status) conclusion.set_error(status.error().message());
  const auto counts = harness::tally(report_);
  conclusion.mutable_counts()->set_passed(static_cast<std::uint32_t>(counts.passed));
  conclusion.mutable_counts()->set_failed(static_cast<std::uint32_t>(counts.failed));
  conclusion.mutable_counts()->set_errors(static_cast<std::uint32_t>(counts.errors));
  conclusion.mutable_counts()->set_skipped(static_cast<std::uint32_t>(counts.skipped));
  journal_->write(std::move(event));
}

Result<int> RunCommand::run(harness::Selection selection) {
  if (options_.journal) {
    journal_ = TRY(harness::RunJournal::create(*options_.journal));
    journalled_ = harness::make_journalled_progress(*shown_, *journal_);
    progress_ = journalled_.get();
  }
  auto status = run_selected(std::move(selection));
  if (journal_) tell_end(status);
  return status;
}

}  // namespace

int run(const RunOptions& options) {
  auto parsed = harness::load(options.scenarios);
  if (!parsed.diagnostics.empty()) {
    fmt::print(stderr, "{}", harness::render(parsed.diagnostics));
    return kWrongInput;
  }
  auto selection = harness::select_scenarios(std::move(parsed.scenarios), options.wanted);
  if (!selection) return fail(selection.error());
  const auto status = RunCommand(options).run(*std::move(selection));
  return status ? *status : fail(status.error());
}

}  // namespace panicroom::cli
