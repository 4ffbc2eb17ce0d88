#include "harness/cli/run_output.h"

#include <fmt/chrono.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <utility>

#include "harness/report/matrix.h"
#include "harness/report/words.h"
#include "harness/scenario/selection.h"

namespace panicroom::cli {

std::filesystem::path default_out() {
  const std::time_t now = std::time(nullptr);
  return fmt::format("panicroom-out/{:%Y%m%d-%H%M%S}", fmt::localtime(now));
}

RunOutput::RunOutput(harness::Progress& progress, std::filesystem::path out, std::size_t scenario_width)
    : progress_(progress),
      style_{.colour = harness::inspect_terminal(STDOUT_FILENO).colour,
             .scenario_width = scenario_width,
             .out = std::move(out)} {}

// The summary is the command's result and goes to standard output; the status line below it is not, and does not.
void RunOutput::print(const std::string& lines) {
  progress_.write_above([&] {
    // Not fmt::print(), which throws when nobody reads any more.
    std::fwrite(lines.data(), 1, lines.size(), stdout);
    std::fflush(stdout);
  });
}

void RunOutput::scenario(const harness::RunGroup& trials) {
  auto here = harness::platform(*trials.front());
  const std::string heading = here == shown_platform_ ? "" : here + "\n";
  shown_platform_ = std::move(here);
  print(heading + harness::scenario_line(trials, style_) + harness::failure_text(trials, style_));
}

void RunOutput::totals(const v1::Report& report, const std::map<std::string, std::size_t>& left_out) {
  if (const auto table = harness::matrix(report, style_.colour); !table.empty()) print("\n" + table + "\n");
  print(harness::totals_line(harness::tally(report)));
  if (!left_out.empty()) print(fmt::format("left out: {} (--tier and --name run them)\n", harness::to_text(left_out)));
}

}  // namespace panicroom::cli
