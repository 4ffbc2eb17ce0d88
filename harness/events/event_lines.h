// Events as lines of events.jsonl: protobuf's JSON mapping, without fields that are zero.
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"
#include "panicroom/v1/events.pb.h"

namespace panicroom::harness {

// The stream's name in a trial's folder.
inline constexpr const char* kEventsFile = "events.jsonl";

// What stands in the place of the first event that there is no room for.
v1::Event cut_in_place_of(const v1::Event& event);

// With the newline. Bytes of strings that are not UTF-8 become U+FFFD. kHost if a value has no JSON form (a time out of
// protobuf's range).
Result<std::string> to_line(const v1::Event& event);

// The lines of one trial, as many as may become of it: after kMaxBytes a guest that writes without end gets no more
// room, and what a trial has few of (its stages, steps, outcome) still has. One thread.
class EventLines {
 public:
  static constexpr std::size_t kMaxBytes = 32u << 20;

  // `limit`: as kMaxBytes.
  explicit EventLines(std::size_t limit = kMaxBytes) : left_(limit) {}

  // The event's line; empty if there is no room for such an event, or, once, a `cut` line in its place.
  Result<std::string> line(const v1::Event& event);
  // Whether that `cut` line has been made.
  [[nodiscard]] bool cut() const { return cut_; }

 private:
  std::size_t left_;
  bool cut_ = false;
};

}  // namespace panicroom::harness
