#include "harness/page/page_data.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "harness/events/event_lines.h"
#include "harness/events/event_reader.h"
#include "harness/events/fold.h"
#include "harness/report/json.h"
#include "harness/report/tally.h"
#include "harness/report/untrusted_text.h"

namespace panicroom::harness {
namespace {

namespace fs = std::filesystem;

// A folder that somebody else filled may hold any number of trials.
constexpr std::size_t kMaxUndecided = 1000;

// For a place where HTML's parser looks for "</script" and "<!--". In JSON these characters stand only in strings.
std::string for_script(std::string_view json) {
  std::string text;
  text.reserve(json.size());
  for (const char c : json) {
    if (c == '<' || c == '>' || c == '&') {
      text += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      text += c;
    }
  }
  return text;
}

Result<std::string> to_json(const google::protobuf::Message& message) {
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json);
  if (!status.ok()) return host_error("{} has no JSON form: {}", message.GetTypeName(), status.ToString());
  return for_script(json);
}

std::string escape(std::string_view text) { return escape_untrusted(text, Newlines::kKeep); }

struct Stream {
  std::vector<v1::Event> events;
  std::map<std::string, std::size_t> omitted;  // By kind.
  bool undecided = false;
  std::string note;
};

// Keeps the beginning and the end of what there may be too much of. A crash is at the end of its console.
void bound(Stream& stream, const PageLimits& limits) {
  struct Kind {
    std::string name;
    std::vector<std::size_t> at;
  };
  std::map<int, Kind> kinds;
  for (std::size_t i = 0; i < stream.events.size(); ++i) {
    const auto what = stream.events[i].what_case();
    const auto* field = v1::Event::descriptor()->FindFieldByNumber(what);
    if (field == nullptr) continue;
    kinds[what].name = field->json_name();
    kinds[what].at.push_back(i);
  }
  std::set<std::size_t> left_out;
  for (auto& [what, kind] : kinds) {
    const std::size_t budget = what == v1::Event::kConsole ? limits.console_bytes : limits.console_bytes * 4;
    std::size_t bytes = 0;
    std::size_t count = 0;
    std::size_t front = 0;
    std::size_t back = kind.at.size();
    while (front < back) {
      // Of four, one from the front.
      const std::size_t next = count % 4 == 0 ? kind.at[front] : kind.at[back - 1];
      bytes += stream.events[next].ByteSizeLong();
      if (++count > limits.events || bytes > budget) break;
      (next == kind.at[front] ? ++front : --back);
    }
    for (std::size_t i = front; i < back; ++i) left_out.insert(kind.at[i]);
    if (front < back) stream.omitted[kind.name] = back - front;
  }
  if (left_out.empty()) return;
  std::vector<v1::Event> kept;
  for (std::size_t i = 0; i < stream.events.size(); ++i) {
    if (!left_out.contains(i)) kept.push_back(std::move(stream.events[i]));
  }
  stream.events = std::move(kept);
}

Stream read_stream(const fs::path& folder, const v1::Run& run, const PageLimits& limits) {
  Stream stream;
  auto log = read_trial_events(folder, run);
  if (!log) {
    stream.note = fmt::format("there are no events of this trial ({})", log.error().message());
    return stream;
  }
  if (log->broken_lines > 0)
    stream.note = fmt::format("{} lines of events.jsonl could not be read. ", log->broken_lines);
  if (log->too_long) stream.note += "Only the beginning of events.jsonl was read.";
  stream.events = std::move(log->events);
  bound(stream, limits);
  return stream;
}

Result<std::string> stream_json(Stream& stream) {
  std::string json = "{\"events\":[";
  const char* separator = "";
  for (auto& event : stream.events) {
    change_strings(event, escape);
    json += separator + TRY(to_json(event));
    separator = ",\n";
  }
  json += "],\"omitted\":{";
  separator = "";
  for (const auto& [kind, count] : stream.omitted) {
    json += fmt::format("{}\"{}\":{}", separator, kind, count);  // A field's name in the schema.
    separator = ",";
  }
  v1::Stage note;  // For its string's JSON form.
  note.set_note(escape(stream.note));
  const auto quoted = TRY(to_json(note));
  json += fmt::format("}},\"undecided\":{}", stream.undecided);
  if (!stream.note.empty()) json += "," + quoted.substr(1, quoted.size() - 2);
  return json + "}";
}

// The trials that have events and no entry in the report.
std::vector<v1::Run> undecided_runs(const v1::Report& report, const fs::path& folder) {
  std::set<fs::path> known;
  for (const auto& run : report.runs()) known.insert(fs::path(run.artifacts()).lexically_normal());
  std::vector<v1::Run> result;
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry.depth() > 4) entry.disable_recursion_pending();
    if (entry->path().filename() != kEventsFile) continue;
    auto relative = entry->path().parent_path().lexically_relative(folder);
    if (!known.contains(relative) && found.size() < kMaxUndecided) found.push_back(std::move(relative));
  }
  std::ranges::sort(found);
  for (const auto& relative : found) {
    const auto log = read_events(folder / relative / kEventsFile);
    if (!log || log->events.empty() || !log->events.front().has_trial_started()) continue;
    v1::Run run;
    for (const auto& event : log->events) apply(event, run);
    run.set_artifacts(relative.generic_string());
    result.push_back(std::move(run));
  }
  return result;
}

}  // namespace

Result<std::string> page_data(const v1::Report& report, const fs::path& folder, const PageLimits& limits) {
  v1::Report shown = report;
  for (auto& run : undecided_runs(report, folder)) *shown.add_runs() = std::move(run);

  // What failed is what the page is for: it gets the room first.
  std::vector<int> order(static_cast<std::size_t>(shown.runs_size()));
  std::iota(order.begin(), order.end(), 0);
  const auto boring = [&](int i) { return settled_verdict(shown.runs(i)) == v1::VERDICT_PASS; };
  std::stable_partition(order.begin(), order.end(), [&](int i) { return !boring(i); });

  std::vector<std::string> streams(order.size());
  std::size_t left = limits.all_bytes;
  for (const int i : order) {
    Stream stream;
    if (left > 0) stream = read_stream(folder, shown.runs(i), limits);
    if (left == 0) stream.note = "This page has grown too large for this trial's events; the trial's folder has them.";
    stream.undecided = i >= report.runs_size();
    auto json = TRY(stream_json(stream));
    left -= std::min(left, json.size());
    streams[static_cast<std::size_t>(i)] = std::move(json);
    // Drawn from the events, which are the same.
    if (stream.events.empty()) continue;
    shown.mutable_runs(i)->clear_ipis();
    shown.mutable_runs(i)->clear_stages();
  }
  change_strings(shown, escape);
  std::string json = "{\"report\":" + TRY(to_json(shown)) + ",\n\"streams\":[";
  for (std::size_t i = 0; i < streams.size(); ++i) json += (i == 0 ? "\n" : ",\n") + streams[i];
  return json + "]}";
}

}  // namespace panicroom::harness
