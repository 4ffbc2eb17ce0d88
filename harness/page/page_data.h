// What the page shows, as one JSON value: the report, and each trial's events, bounded and made harmless.
//
//   {"report": panicroom.v1.Report, "streams": [{"events": [panicroom.v1.Event...], "omitted": {"console": 12},
//    "undecided": true, "note": "..."}...]}
//
// `streams` has an entry for each run. Runs that were begun and not decided, because panicroom was killed, stand behind
// those of the report.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "base/result.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

struct PageLimits {
  std::size_t all_bytes = 24u << 20;       // Of all events; what failed comes first.
  std::size_t console_bytes = 192u << 10;  // Of a trial's console lines; the middle is left out.
  std::size_t events = 2000;               // Of a trial's events of one kind, likewise.
};

// `folder` is the run's --out folder. Every text in it is escaped (untrusted_text.h), and the JSON may stand in a
// <script> element. A trial's events that cannot be read are a note on its stream, not an error.
Result<std::string> page_data(const v1::Report& report, const std::filesystem::path& folder, const PageLimits& limits);

}  // namespace panicroom::harness
