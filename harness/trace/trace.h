// Trials as a trace in Chrome's trace event format, for people who know their way about in Perfetto or
// chrome://tracing. A trial is a process; each vCPU has tracks for where it was seen, for holds, for windows with
// interrupts off; IPIs are flows from vCPU to vCPU. See "Trace Event Format" of the Chromium project.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "panicroom/v1/events.pb.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

class Trace {
 public:
  // Every text from the events is escaped (untrusted_text.h).
  void add(const v1::Run& run, const std::vector<v1::Event>& events);
  [[nodiscard]] std::size_t trials() const { return trials_; }
  // The whole file.
  [[nodiscard]] std::string json() const;

 private:
  std::size_t trials_ = 0;
  std::uint64_t flows_ = 0;
  std::vector<std::string> entries_;  // One JSON object each.
};

}  // namespace panicroom::harness
