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
#include "harness/report/progress.h"
#include "harness/report/report_files.h"
#include "harness/report/summary.h"
#include "harness/report/tally.h"
#include "harness/scenario/parser.h"
#include "harness/session/engine.h"
#include "harness/session/runner.h"

namespace panicroom::cli {
namespace {

std::filesystem::path default_out() {
  const std::time_t now = std::time(nullptr);
  return fmt::format("panicroom-out/{:%Y%m%d-%H%M%S}", fmt::localtime(now));
}

// The machines' own files: big, and of no use afterwards.
Result<std::filesystem::path> machine_directory() {
  auto directory = TRY(kernels::default_cache_dir()) / "machines" / fmt::format("{}", ::getpid());
  TRY(make_directories(directory));
  return directory;
}

class RemovedAtTheEnd {
 public:
  explicit RemovedAtTheEnd(std::filesystem::path path) : path_(std::move(path)) {}
  RemovedAtTheEnd(const RemovedAtTheEnd&) = delete;
  RemovedAtTheEnd& operator=(const RemovedAtTheEnd&) = delete;
  ~RemovedAtTheEnd() {
    std::error_code ignored;  // What stays is taken away at the next start.
    std::filesystem::remove_all(path_, ignored);
  }

 private:
  std::filesystem::path path_;
};

class RunCommand {
 public:
  explicit RunCommand(const RunOptions& options)
      : options_(options),
        terminal_(harness::inspect_terminal(STDERR_FILENO)),
        progress_(harness::make_progress(std::cerr, terminal_)) {}

  Result<int> run(std::vector<harness::Scenario> scenarios);

 private:
  Result<> write_reports();
  void print(const std::string& lines);

  const RunOptions& options_;
  harness::Terminal terminal_;
  std::unique_ptr<harness::Progress> progress_;
  std::filesystem::path out_;
  harness::SummaryStyle style_;
  v1::Report report_;
};

// The summary is the command's result and goes to standard output; the status line below it is not, and does not.
void RunCommand::print(const std::string& lines) {
  progress_->clear();
  fmt::print("{}", lines);
  std::fflush(stdout);
}

Result<> RunCommand::write_reports() {
  const auto json = TRY(harness::report_to_json(report_));
  TRY(write_file(out_ / "report.json", json));
  return harness::write_report_files(report_, {options_.json, options_.junit, options_.ktap});
}

Result<int> RunCommand::run(std::vector<harness::Scenario> scenarios) {
  harness::Cancellation cancellation;
  const SignalWatcher signals(cancellation);
  report_.set_panicroom_version(PANICROOM_VERSION);
  *report_.mutable_started() = google::protobuf::util::TimeUtil::GetCurrentTime();

  harness::RunRequest request;
  KernelChoice choice(*progress_);
  if (options_.kernels.empty()) {
    request.kernels.push_back(TRY(choice.load(std::nullopt)));
  } else {
    for (const auto& reference : options_.kernels) request.kernels.push_back(TRY(choice.load(reference)));
  }
  if (options_.capture_kernel) request.capture = TRY(choice.load(options_.capture_kernel));

  progress_->show({.subject = "measuring the engines"});
  const auto engine = TRY(harness::make_engine(options_.engine, *report_.mutable_host()));
  request.engine = engine.name;
  request.factory = engine.factory;
  request.repeat = options_.repeat;
  request.jobs = options_.jobs;
  out_ = options_.out.empty() ? default_out() : options_.out;
  TRY(make_directories(out_));
  request.out = out_;
  request.directory = TRY(machine_directory());
  const RemovedAtTheEnd machines(request.directory);

  style_.colour = harness::inspect_terminal(STDOUT_FILENO).colour;
  style_.out = out_;
  for (const auto& scenario : scenarios) style_.scenario_width = std::max(style_.scenario_width, scenario.name.size());
  request.scenarios = std::move(scenarios);
  const harness::RunCallbacks callbacks{.on_scenario = [&](const harness::RunGroup& trials) {
    print(harness::scenario_line(trials, style_) + harness::failure_text(trials, style_));
  }};
  const auto ended = harness::run_scenarios(request, callbacks, *progress_, cancellation, report_);
  print(harness::totals_line(harness::tally(report_)));
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
  const auto status = RunCommand(options).run(std::move(parsed.scenarios));
  return status ? *status : fail(status.error());
}

}  // namespace panicroom::cli
