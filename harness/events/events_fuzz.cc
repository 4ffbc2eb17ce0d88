// An events.jsonl that somebody else wrote: whatever it holds, it is read within bounds, what was read can be written
// again, and the report's entry that is folded from it is bounded and has a JSON form.
#include <google/protobuf/util/message_differencer.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/testing/require.h"
#include "harness/events/console_lines.h"
#include "harness/events/event_lines.h"
#include "harness/events/event_reader.h"
#include "harness/events/fold.h"
#include "harness/report/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace panicroom;  // NOLINT(google-build-using-namespace): a function of a fuzz target.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto log = harness::parse_events(text);
  harness::EventLines lines(4096);
  v1::Report report;
  for (const auto& event : log.events) {
    const auto line = harness::to_line(event);
    require(line.has_value() && line->find('\n') == line->size() - 1);
    const auto back = harness::parse_events(*line);
    require(back.events.size() == 1 && back.broken_lines == 0);
    require(google::protobuf::util::MessageDifferencer::Equals(back.events[0], event));
    require(lines.line(event).has_value());
    harness::apply(event, report.runs_size() == 0 ? *report.add_runs() : *report.mutable_runs(0));
  }
  require(harness::report_to_json(report).has_value());
  require(harness::parse_events(text, size / 2).events.size() <= log.events.size());

  std::size_t bytes = 0;
  harness::ConsoleLines console([&](std::string_view line, std::uint64_t offset) {
    require(!line.empty() && line.size() <= harness::ConsoleLines::kMaxLine && offset < size);
    bytes += line.size();
  });
  console.feed(text.substr(0, size / 3));
  console.feed(text.substr(size / 3));
  console.finish();
  require(bytes <= size);
  return 0;
}
