// What `panicroom run` prints on standard output, wherever the run is carried out.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>

#include "harness/report/progress.h"
#include "harness/report/summary.h"
#include "harness/report/tally.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::cli {

// "panicroom-out/TIME".
std::filesystem::path default_out();

// One call at a time.
class RunOutput {
 public:
  // `progress` must outlive it. `out`: where the run's logs are. `scenario_width`: of the longest scenario's name.
  RunOutput(harness::Progress& progress, std::filesystem::path out, std::size_t scenario_width);

  // A scenario's trials on a kernel have ended. The runs need not outlive the call.
  void scenario(const harness::RunGroup& trials);
  // The table and the totals. `left_out`: how many scenarios of which tier were not run.
  void totals(const v1::Report& report, const std::map<std::string, std::size_t>& left_out);
  void files() { print("logs and report.json are in " + style_.out.native() + "\n"); }

 private:
  void print(const std::string& lines);

  harness::Progress& progress_;
  harness::SummaryStyle style_;
  std::string shown_platform_;  // What the last scenario's line stands under.
};

}  // namespace panicroom::cli
