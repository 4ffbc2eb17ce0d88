#include <fmt/core.h>
#include <unistd.h>

#include "harness/cli/commands.h"
#include "harness/report/progress.h"
#include "harness/report/report_files.h"
#include "harness/report/summary.h"

namespace panicroom::cli {
namespace {

Result<> show(const std::filesystem::path& folder) {
  const auto report = TRY(harness::read_report(folder));
  const harness::SummaryStyle style{
      .colour = harness::inspect_terminal(STDOUT_FILENO).colour, .scenario_width = 0, .out = folder};
  fmt::print("{}", harness::summary(report, style));
  return {};
}

}  // namespace

int report(const std::filesystem::path& folder) {
  const auto shown = show(folder);
  return shown ? kSuccess : fail(shown.error());
}

}  // namespace panicroom::cli
