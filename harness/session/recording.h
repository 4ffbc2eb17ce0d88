// What is written down of one trial while it runs: console.log, agent.log and events.jsonl in its folder, and the
// report's entry.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "harness/director/trial.h"
#include "harness/events/event_lines.h"
#include "harness/observer/journal.h"
#include "harness/session/log_file.h"

namespace panicroom::harness {

// Refers to the run, which must outlive it. One thread.
class Recording {
 public:
  // Told what events.jsonl is told, in its order. Called by the recording's thread.
  using EventSink = std::function<void(const v1::Event& event)>;

  // Makes the folder and the files. The trial's time begins. `on_event` may be empty.
  static Result<std::unique_ptr<Recording>> create(const std::filesystem::path& folder, v1::Run& run,
                                                   std::function<void(std::string_view)> on_stage,
                                                   EventSink on_event = {});
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  [[nodiscard]] Journal& journal() { return journal_; }
  // Where the trial's bytes go; must not be used after the recording.
  [[nodiscard]] TrialSinks sinks();
  // The first thing that could not be written: a full disk.
  [[nodiscard]] Result<> status() const;

 private:
  Recording(LogFile console, LogFile agent, LogFile events, v1::Run& run,
            std::function<void(std::string_view)> on_stage, EventSink on_event);
  void write(const v1::Event& event);

  LogFile console_;
  LogFile agent_;
  LogFile events_;
  EventLines lines_;
  Result<> lines_status_;
  EventSink on_event_;
  Journal journal_;
};

}  // namespace panicroom::harness
