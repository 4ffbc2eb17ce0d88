#include "harness/events/event_reader.h"

#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>
#include <utility>

#include "harness/events/event_lines.h"

namespace panicroom::harness {

EventLog parse_events(std::string_view text, std::size_t limit) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const google::protobuf::LogSilencer silence;
  EventLog log;
  if (text.size() > limit) {
    log.too_long = true;
    text = text.substr(0, limit);
    text = text.substr(0, text.rfind('\n') + 1);  // npos + 1 is 0: no line is whole.
  }
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.empty()) continue;
    v1::Event event;
    if (google::protobuf::util::JsonStringToMessage({line.data(), line.size()}, &event, options).ok()) {
      log.events.push_back(std::move(event));
    } else {
      ++log.broken_lines;
    }
  }
  return log;
}

Result<EventLog> read_events(const std::filesystem::path& file, std::size_t limit) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return errno_error(errno, fmt::format("opening {}", file.native()));
  // Not all at once: most are small, and one may say that it is large and not be.
  constexpr std::size_t kPiece = 64u << 10;
  std::string text;
  while (in && text.size() <= limit) {
    const auto before = text.size();
    text.resize(before + std::min(kPiece, limit + 1 - before));
    in.read(text.data() + before, static_cast<std::streamsize>(text.size() - before));
    text.resize(before + static_cast<std::size_t>(in.gcount()));
  }
  if (in.bad()) return host_error("{} cannot be read", file.native());
  return parse_events(text, limit);
}

Result<EventLog> read_trial_events(const std::filesystem::path& out, const v1::Run& run) {
  const std::filesystem::path trial(run.artifacts());
  if (trial.empty()) return invalid_input("the trial ended before it began");
  if (trial.is_absolute() || std::ranges::any_of(trial, [](const auto& part) { return part == ".."; }))
    return invalid_input("the report names a folder outside of its own: {}", trial.native());
  auto log = read_events(out / trial / kEventsFile);
  if (!log) return Error(ErrorKind::kInvalidInput, log.error().message());
  return log;
}

}  // namespace panicroom::harness
