#include "harness/trace/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "harness/events/fold.h"
#include "harness/report/untrusted_text.h"
#include "harness/report/words.h"

namespace panicroom::harness {
namespace {

using nlohmann::json;
using v1::Event;

// Track numbers within a trial. Slices of one track must nest, so what may overlap has tracks of its own.
constexpr std::uint64_t kTrialTrack = 1;
constexpr std::uint64_t kConsoleTrack = 2;
constexpr std::uint64_t kAgentTrack = 3;
constexpr std::uint64_t kFirstCpuTrack = 10;
enum class Track : std::uint64_t { kPlace, kHeld, kInterruptsOff };
constexpr std::uint64_t kTracksOfACpu = 3;
// More is no machine.
constexpr std::uint32_t kMaxCpus = 4096;

std::uint64_t track(std::uint32_t cpu, Track kind) {
  return kFirstCpuTrack + std::uint64_t{std::min(cpu, kMaxCpus)} * kTracksOfACpu + static_cast<std::uint64_t>(kind);
}

// The trace's unit is the microsecond.
double microseconds(const google::protobuf::Duration& at) { return seconds(at) * 1e6; }

class TrialTrace {
 public:
  TrialTrace(std::size_t process, std::uint64_t& flows, std::vector<std::string>& entries)
      : process_(process), flows_(flows), entries_(entries) {}

  void name_process(const v1::Run& run);
  void take(const Event& event);
  // Ends what is still open.
  void finish();

 private:
  struct Open {
    std::string name;
    double since;
  };

  json entry(const char* phase, std::uint64_t tid, double at, const std::string& name) const {
    return {{"ph", phase}, {"pid", process_}, {"tid", tid}, {"ts", at}, {"name", escape_untrusted(name)}};
  }
  void put(const json& object) { entries_.push_back(object.dump(-1, ' ', false, json::error_handler_t::replace)); }
  void name_track(std::uint64_t tid, const std::string& name);
  void instant(std::uint64_t tid, const std::string& name, const std::string& note = {}) {
    instant_at(now_, tid, name, note);
  }
  void instant_at(double at, std::uint64_t tid, const std::string& name, const std::string& note = {});
  void begin(std::uint64_t tid, const std::string& name);
  void end(std::uint64_t tid);
  void take_ipi(const Event& event);
  void take_places(const v1::Places& places);
  [[nodiscard]] std::uint64_t tid_of(const Event& event) const {
    return event.has_cpu() ? track(event.cpu(), Track::kPlace) : kTrialTrack;
  }

  std::size_t process_;
  std::uint64_t& flows_;
  std::vector<std::string>& entries_;
  std::map<std::uint64_t, Open> open_;
  std::map<std::uint64_t, bool> named_;
  double now_ = 0;
};

void TrialTrace::name_process(const v1::Run& run) {
  auto object = entry("M", 0, 0, "process_name");
  object["args"]["name"] = escape_untrusted(
      fmt::format("{} on {}, trial {}: {}", run.scenario(), platform(run), run.repeat(), outcome_word(run.outcome())));
  put(object);
  name_track(kTrialTrack, "trial");
}

void TrialTrace::name_track(std::uint64_t tid, const std::string& name) {
  if (std::exchange(named_[tid], true)) return;
  auto object = entry("M", tid, 0, "thread_name");
  object["args"]["name"] = name;
  put(object);
  auto order = entry("M", tid, 0, "thread_sort_index");
  order["args"]["sort_index"] = tid;
  put(order);
}

void TrialTrace::instant_at(double at, std::uint64_t tid, const std::string& name, const std::string& note) {
  auto object = entry("i", tid, at, name);
  object["s"] = "t";
  if (!note.empty()) object["args"]["note"] = escape_untrusted(note);
  put(object);
}

void TrialTrace::begin(std::uint64_t tid, const std::string& name) {
  end(tid);
  open_[tid] = {name, now_};
}

void TrialTrace::end(std::uint64_t tid) {
  const auto slice = open_.extract(tid);
  if (slice.empty()) return;
  auto object = entry("X", tid, slice.mapped().since, slice.mapped().name);
  object["dur"] = std::max(0.0, now_ - slice.mapped().since);
  put(object);
}

void TrialTrace::take_ipi(const Event& event) {
  const auto from = track(event.cpu(), Track::kPlace);
  const auto& ipi = event.ipi();
  const double at = ipi.has_unwatched_at() ? microseconds(ipi.unwatched_at()) : now_;
  for (const auto& target : ipi.targets()) {
    const auto name =
        fmt::format("IPI {} 0x{:x}: {} → {}", ipi.sent_as(), ipi.vector(), ipi.sent_as(), target.delivered_as());
    // A flow binds to slices, so both of its ends get a short one.
    const auto flow = ++flows_;
    const auto to = track(target.cpu(), Track::kPlace);
    name_track(to, fmt::format("CPU {}", target.cpu()));
    const auto arrow_end = [&](const char* phase, std::uint64_t tid) {
      auto slice = entry("X", tid, at, name);
      slice["dur"] = 1;
      put(slice);
      auto arrow = entry(phase, tid, at, "IPI");
      arrow["cat"] = "ipi";
      arrow["id"] = flow;
      if (*phase == 'f') arrow["bp"] = "e";
      put(arrow);
    };
    arrow_end("s", from);
    if (target.delivered_as() == "dropped") {
      instant_at(at, to, fmt::format("dropped: IPI from CPU {}", event.cpu()));
    } else {
      arrow_end("f", to);
    }
  }
}

void TrialTrace::take_places(const v1::Places& places) {
  for (const auto& place : places.cpus()) {
    const auto tid = track(place.cpu(), Track::kPlace);
    name_track(tid, fmt::format("CPU {}", place.cpu()));
    instant(tid, place.place(), place.interrupts_enabled() ? "interrupts on" : "interrupts off");
  }
}

void TrialTrace::take(const Event& event) {
  now_ = std::max(now_, microseconds(event.at()));
  if (event.has_cpu()) name_track(track(event.cpu(), Track::kPlace), fmt::format("CPU {}", event.cpu()));
  const auto tid = tid_of(event);
  const auto held = track(event.cpu(), Track::kHeld);
  const auto off = track(event.cpu(), Track::kInterruptsOff);
  if (const auto stage = stage_name(event); !stage.empty()) {
    instant(tid, stage, event.stage().note());
    return;
  }
  switch (event.what_case()) {
    case Event::kStepArmed:
      instant(tid, fmt::format("waiting for step {}", event.step_armed().number()),
              event.step_armed().has_wait() ? fmt::format("{} us", microseconds(event.step_armed().wait())) : "");
      break;
    case Event::kStepHappened:
      instant(tid, fmt::format("step {}", event.step_happened().number()), event.step_happened().place());
      break;
    case Event::kHeld:
      name_track(held, fmt::format("CPU {} held", event.cpu()));
      begin(held, "held");
      break;
    case Event::kReleased:
      end(held);
      break;
    case Event::kInterruptsOff:
      name_track(off, fmt::format("CPU {} interrupts off", event.cpu()));
      begin(off, "interrupts off");
      break;
    case Event::kInterruptsRestored:
      end(off);
      break;
    case Event::kIpi:
      take_ipi(event);
      break;
    case Event::kPlaces:
      take_places(event.places());
      break;
    case Event::kConsole:
      name_track(kConsoleTrack, "console");
      instant(kConsoleTrack, event.console().text());
      break;
    case Event::kAgent:
      name_track(kAgentTrack, "agent");
      instant(kAgentTrack, event.agent().text());
      break;
    case Event::kDumpJudged:
      for (const auto& check : event.dump_judged().dump().checks()) {
        instant(tid, fmt::format("{}: {}", check.ok() ? "holds" : "WRONG", check.name()),
                fmt::format("expected {}, found {}", check.expected(), check.actual()));
      }
      break;
    case Event::kPanicMessage:
      instant(tid, "panic message: " + event.panic_message().text(), message_words(event.panic_message()));
      break;
    case Event::kOutcome:
      instant(tid, "outcome: " + outcome_word(event.outcome().outcome()), event.outcome().detail());
      break;
    case Event::kVerdict:
      instant(tid, "verdict: " + verdict_word(event.verdict().verdict()), event.verdict().detail());
      break;
    default:
      break;
  }
}

void TrialTrace::finish() {
  while (!open_.empty()) end(open_.begin()->first);
}

}  // namespace

void Trace::add(const v1::Run& run, const std::vector<v1::Event>& events) {
  TrialTrace trial(++trials_, flows_, entries_);
  trial.name_process(run);
  for (const auto& event : events) trial.take(event);
  trial.finish();
}

std::string Trace::json() const {
  std::string text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  const char* separator = "\n";
  for (const auto& entry : entries_) {
    text += separator;
    text += entry;
    separator = ",\n";
  }
  return text + "\n]}\n";
}

}  // namespace panicroom::harness
