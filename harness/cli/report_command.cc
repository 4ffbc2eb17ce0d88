#include <fmt/core.h>
#include <unistd.h>

#include "base/file.h"
#include "harness/cli/commands.h"
#include "harness/report/json.h"
#include "harness/report/progress.h"
#include "harness/report/summary.h"

namespace panicroom::cli {
namespace {

Result<> show(const std::filesystem::path& folder) {
  const auto text = TRY(read_text_file(folder / "report.json"));
  const auto report = TRY_CONTEXT((folder / "report.json").native(), harness::report_from_json(text));
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
