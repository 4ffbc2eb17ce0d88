#include "harness/events/event_lines.h"

#include <google/protobuf/util/json_util.h>

#include "harness/report/json.h"

namespace panicroom::harness {
namespace {

// Of what a guest can have any number.
bool unbounded(const v1::Event& event) {
  switch (event.what_case()) {
    case v1::Event::kConsole:
    case v1::Event::kAgent:
    case v1::Event::kIpi:
      return true;
    case v1::Event::kPlaces:
      return !event.places().final();
    default:
      return false;
  }
}

}  // namespace

v1::Event cut_in_place_of(const v1::Event& event) {
  v1::Event cut;
  cut.set_sequence(event.sequence());
  *cut.mutable_at() = event.at();
  cut.mutable_cut();
  return cut;
}

Result<std::string> to_line(const v1::Event& event) {
  v1::Event readable = event;
  make_utf8(readable);
  std::string line;
  const auto status = google::protobuf::util::MessageToJsonString(readable, &line);
  if (!status.ok()) return host_error("event {} has no JSON form: {}", event.sequence(), status.ToString());
  line += '\n';
  return line;
}

Result<std::string> EventLines::line(const v1::Event& event) {
  if (cut_ && unbounded(event)) return std::string();
  auto line = TRY(to_line(event));
  if (line.size() <= left_) {
    left_ -= line.size();
    return line;
  }
  left_ = 0;
  if (!unbounded(event)) return line;
  cut_ = true;
  return to_line(cut_in_place_of(event));
}

}  // namespace panicroom::harness
