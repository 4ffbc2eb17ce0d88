#include "harness/scenario/scenario.h"

namespace panicroom::harness {

std::string_view name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDumped:
      return "dumped";
    case Outcome::kDumpIncomplete:
      return "dump_incomplete";
    case Outcome::kDumpInvalid:
      return "dump_invalid";
    case Outcome::kCaptureFailed:
      return "capture_failed";
    case Outcome::kReset:
      return "reset";
    case Outcome::kHung:
      return "hung";
    case Outcome::kNoPanic:
      return "no_panic";
  }
  return "";
}

std::vector<StartedWorkload> starts(const Scenario& scenario) {
  std::vector<StartedWorkload> result;
  for (const Step& step : scenario.timeline) {
    if (const auto* start = std::get_if<DoStart>(&step.action)) result.push_back({step.cpu, start->workload});
  }
  return result;
}

}  // namespace panicroom::harness
