// What changed from one report to another: `panicroom compare`.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// In the order in which they are told.
enum class ChangeKind {
  kRegression,  // It passed, and now fails or is an error; or fewer of its trials pass, in proportion.
  kImproved,    // More of its trials pass, in proportion.
  kChanged,     // Another verdict or other outcomes, neither better nor worse: fail to error, pass to skip.
  kNew,         // Only in the newer report.
  kGone,        // Only in the older report.
};

struct Change {
  ChangeKind kind = ChangeKind::kChanged;
  std::string scenario;
  std::string platform;      // The newer report's, as "6.1.0-56-cloud-amd64, qemu (tcg)"; escaped.
  std::string was_platform;  // The older report's, if it is another one.
  std::string before;        // "pass dumped", "FAIL 18/20 dumped, 2 reset"; empty if there is none.
  std::string after;
};

struct Comparison {
  std::vector<Change> changes;  // By kind, scenario, platform.
  std::size_t unchanged = 0;    // Scenarios on a kernel, not trials.

  [[nodiscard]] std::size_t count(ChangeKind kind) const;
  [[nodiscard]] bool regressed() const { return count(ChangeKind::kRegression) > 0; }
};

// Compares the trials of each scenario on each kernel; scenarios are found again by their names, kernels by
// match_kernels(). Trials that were skipped do not count in a proportion.
Comparison compare(const v1::Report& before, const v1::Report& after);

// A line for each change and one of totals, each ending in a newline; text from the reports is escaped.
std::string render(const Comparison& comparison);

}  // namespace panicroom::harness
