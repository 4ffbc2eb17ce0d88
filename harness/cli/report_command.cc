// `panicroom report`: an earlier run once more, as text, as a page, as a trace.
#include <fmt/core.h>
#include <unistd.h>

#include "base/file.h"
#include "harness/cli/commands.h"
#include "harness/events/event_reader.h"
#include "harness/page/page.h"
#include "harness/report/progress.h"
#include "harness/report/report_files.h"
#include "harness/report/summary.h"
#include "harness/trace/trace.h"

namespace panicroom::cli {
namespace {

Result<> write_trace(const v1::Report& report, const std::filesystem::path& folder, const std::filesystem::path& file) {
  harness::Trace trace;
  std::string reason = "the report has no trials";
  for (const auto& run : report.runs()) {
    const auto log = harness::read_trial_events(folder, run);
    if (log) {
      trace.add(run, log->events);
    } else {
      reason = log.error().message();
    }
  }
  if (trace.trials() == 0) return invalid_input("there are no events to make a trace of: {}", reason);
  TRY(write_file(file, trace.json()));
  fmt::print(stderr, "panicroom: the trace of {} of {} trials is {}; open it in Perfetto or chrome://tracing\n",
             trace.trials(), report.runs_size(), file.native());
  return {};
}

Result<> show(const ReportOptions& options) {
  const auto report = TRY(harness::read_report(options.folder));
  // report.json may be named itself; the rest lies beside it.
  std::error_code error;
  const auto folder =
      std::filesystem::is_directory(options.folder, error) ? options.folder : options.folder.parent_path();
  const harness::SummaryStyle style{
      .colour = harness::inspect_terminal(STDOUT_FILENO).colour, .scenario_width = 0, .out = options.folder};
  fmt::print("{}", harness::summary(report, style));
  std::fflush(stdout);
  const auto page = options.html.value_or(folder / harness::kPageFile);
  TRY_CONTEXT("writing the page (--html FILE puts it elsewhere)",
              write_file(page, TRY(harness::report_page(report, folder))));
  fmt::print(stderr, "panicroom: the report as a page is {}\n", page.native());
  if (options.trace) TRY(write_trace(report, folder, *options.trace));
  return {};
}

}  // namespace

int report(const ReportOptions& options) {
  const auto shown = show(options);
  return shown ? kSuccess : fail(shown.error());
}

}  // namespace panicroom::cli
