// `panicroom compare`: what changed between two reports.
#include <fmt/core.h>

#include "harness/cli/commands.h"
#include "harness/report/compare.h"
#include "harness/report/report_files.h"

namespace panicroom::cli {

int compare(const std::filesystem::path& before, const std::filesystem::path& after) {
  const auto old_report = harness::read_report(before);
  if (!old_report) return fail(old_report.error());
  const auto new_report = harness::read_report(after);
  if (!new_report) return fail(new_report.error());
  const auto comparison = harness::compare(*old_report, *new_report);
  fmt::print("{}", harness::render(comparison));
  return comparison.regressed() ? kSomeFailed : kSuccess;
}

}  // namespace panicroom::cli
