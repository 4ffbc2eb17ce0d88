#include "harness/session/recording.h"

#include <utility>

namespace panicroom::harness {

Result<std::unique_ptr<Recording>> Recording::create(const std::filesystem::path& folder, v1::Run& run,
                                                     std::function<void(std::string_view)> on_stage,
                                                     EventSink on_event) {
  auto console = TRY(LogFile::create(folder / "console.log"));
  auto agent = TRY(LogFile::create(folder / "agent.log"));
  auto events = TRY(LogFile::create(folder / kEventsFile));
  return std::unique_ptr<Recording>(new Recording(std::move(console), std::move(agent), std::move(events), run,
                                                  std::move(on_stage), std::move(on_event)));
}

Recording::Recording(LogFile console, LogFile agent, LogFile events, v1::Run& run,
                     std::function<void(std::string_view)> on_stage, EventSink on_event)
    : console_(std::move(console)),
      agent_(std::move(agent)),
      events_(std::move(events)),
      on_event_(std::move(on_event)),
      journal_(run, {.stage = std::move(on_stage), .event = [this](const v1::Event& event) { write(event); }}) {}

TrialSinks Recording::sinks() {
  return {.console = [this](std::string_view bytes) { console_.write(bytes); },
          .agent_log =
              [this](std::string_view line) {
                agent_.write(line);
                agent_.write("\n");
              }};
}

Result<> Recording::status() const {
  TRY(console_.status());
  TRY(agent_.status());
  TRY(lines_status_);
  return events_.status();
}

void Recording::write(const v1::Event& event) {
  const bool was_cut = lines_.cut();
  const auto line = lines_.line(event);
  if (line) {
    events_.write(*line);
    if (on_event_ && !line->empty()) on_event_(lines_.cut() == was_cut ? event : cut_in_place_of(event));
  } else if (lines_status_) {
    lines_status_ = line.error();
  }
}

}  // namespace panicroom::harness
