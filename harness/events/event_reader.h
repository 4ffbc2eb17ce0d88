// Reads events.jsonl back. Whoever wrote it may have been killed while doing so, and it may be anybody's file: what is
// no event is counted and left out, and memory is bounded.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "panicroom/v1/events.pb.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

struct EventLog {
  std::vector<v1::Event> events;
  std::size_t broken_lines = 0;  // Were no events; the last one of a process that was killed often is not.
  bool too_long = false;         // Not all of the file was read.
};

// Reads at most `limit` bytes, up to the last line that is whole within them.
inline constexpr std::size_t kMaxEventBytes = 64u << 20;
EventLog parse_events(std::string_view text, std::size_t limit = kMaxEventBytes);

// kHost, naming the file, if it cannot be read.
Result<EventLog> read_events(const std::filesystem::path& file, std::size_t limit = kMaxEventBytes);

// The events of one of a report's trials, below the run's --out folder. kInvalidInput if the trial left none, or if the
// report names a folder that lies elsewhere.
Result<EventLog> read_trial_events(const std::filesystem::path& out, const v1::Run& run);

}  // namespace panicroom::harness
