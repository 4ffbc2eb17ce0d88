// What a person reads on the terminal: a line as each scenario ends, what is to be known of each failure, and the
// totals. Text from guests and files is escaped. Every function returns whole lines, each ending in a newline.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "harness/report/tally.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

struct SummaryStyle {
  bool colour = false;             // See inspect_terminal().
  std::size_t scenario_width = 0;  // Columns of the longest scenario name, so that lines stand in columns.
  std::filesystem::path out;       // Folder that the runs' artifacts are relative to.
};

// "pass   single-panic   dumped   5.4 s"; for several trials, "20 of 20 dumped".
std::string scenario_line(const RunGroup& trials, const SummaryStyle& style);

// The first trial that failed, in full, and the numbers of the others; the same for errors. Empty if none did.
std::string failure_text(const RunGroup& trials, const SummaryStyle& style);

// "12 passed, 0 failed, 0 errors, 1 skipped"; counts trials.
std::string totals_line(const Tally& counts);

// All of it, as `panicroom report` shows a finished report: scenario lines under each platform, failures, the matrix if
// there are several kernels, totals.
std::string summary(const v1::Report& report, SummaryStyle style);

}  // namespace panicroom::harness
