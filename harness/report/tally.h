// Counts verdicts, groups runs, and decides the exit status of `panicroom run`.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// How many runs (trials, not scenarios) got which verdict. A run without a verdict is an error: nothing was proved.
struct Tally {
  std::size_t passed = 0;
  std::size_t failed = 0;
  std::size_t errors = 0;
  std::size_t skipped = 0;

  void add(const v1::Run& run);
  [[nodiscard]] std::size_t total() const { return passed + failed + errors + skipped; }
  friend bool operator==(const Tally&, const Tally&) = default;
};

Tally tally(const v1::Report& report);

// VERDICT_UNSPECIFIED and values that this program does not know are taken as VERDICT_ERROR.
v1::Verdict settled_verdict(const v1::Run& run);

// 0: every verdict is pass or skip, or there is no run · 1: some verdict is fail and none is error · 3: some verdict is
// error. Error wins over fail: a report that the harness could not complete must not be read as the kernel's result.
int exit_status(const v1::Report& report);

// The trials of one scenario on one platform. Never empty; points into the report that it was made from.
using RunGroup = std::vector<const v1::Run*>;

// The verdict that stands for all: error before fail before pass; skip if every trial was skipped.
v1::Verdict worst_verdict(const RunGroup& trials);
// How often there was which outcome, in outcome_word()'s words, the most frequent first.
std::vector<std::pair<std::string, std::size_t>> outcome_counts(const RunGroup& trials);

// The report's runs by scenario file, scenario and platform, in the order in which each was first seen.
std::vector<RunGroup> group_by_scenario(const v1::Report& report);
// The report's runs by kernel release and engine.
std::vector<RunGroup> group_by_platform(const v1::Report& report);

}  // namespace panicroom::harness
