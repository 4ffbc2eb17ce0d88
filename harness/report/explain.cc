#include "harness/report/explain.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "harness/report/tally.h"
#include "harness/report/untrusted_text.h"
#include "harness/report/words.h"

namespace panicroom::harness {
namespace {

// A hostile or broken run may hold any number of entries; people read these.
constexpr int kMaxFrames = 16;
constexpr int kMaxEntries = 200;
constexpr std::size_t kMaxLineColumns = 400;

std::string escaped_line(std::string_view text) { return shorten(escape_untrusted(text), kMaxLineColumns); }

class Lines {
 public:
  // "label     text"; further lines of a text stand under its first.
  void add(std::string_view label, std::string_view text) {
    int left = kMaxEntries;
    while (true) {
      const auto end = text.find('\n');
      lines_.push_back(fmt::format("{:<10}{}", label, escaped_line(text.substr(0, end))));
      if (end == std::string_view::npos || end + 1 == text.size()) return;
      if (--left == 0) return add("", "… (cut off)");
      text.remove_prefix(end + 1);
      label = "";
    }
  }

  // Adds what `add_one` makes of each entry, at most kMaxEntries of them.
  template <typename Entries, typename AddOne>
  void add_each(const Entries& entries, AddOne add_one) {
    int left = kMaxEntries;
    for (const auto& entry : entries) {
      if (left-- == 0) return add("", fmt::format("… {} in all", entries.size()));
      add_one(entry);
    }
  }

  std::vector<std::string> take() && { return std::move(lines_); }

 private:
  std::vector<std::string> lines_;
};

std::string cpu_of(std::int32_t cpu) { return cpu < 0 ? std::string() : fmt::format(" on CPU {}", cpu); }

std::string step_text(const v1::Step& step) {
  if (!step.happened()) return fmt::format("not reached: {}", step.text());
  std::string text = step.text();
  if (step.has_at()) text += fmt::format("; happened at {:.3f} s{}", seconds(step.at()), cpu_of(step.cpu()));
  if (!step.place().empty()) text += fmt::format(", {}", step.place());
  if (step.rip() != 0) text += fmt::format(" (RIP {:#018x})", step.rip());
  return text;
}

// What a timeline that ended early shows: the last step that happened, the one that did not, and what hangs on it.
void add_missed_step(Lines& lines, const v1::Run& run) {
  const auto& steps = run.steps();
  const auto missed = std::find_if(steps.begin(), steps.end(), [](const auto& step) { return !step.happened(); });
  if (missed == steps.end()) return;
  if (missed != steps.begin()) {
    const auto& last = *std::prev(missed);
    lines.add(fmt::format("step {}", last.number()), step_text(last));
  }
  lines.add(fmt::format("step {}", missed->number()), step_text(*missed));
  if (const auto after = std::distance(missed, steps.end()) - 1; after > 0)
    lines.add("", fmt::format("and so {} after it", after == 1 ? "the step" : fmt::format("the {} steps", after)));
}

// "CPU 0 by an NMI" for the stages that say who was stopped; empty for other stages.
std::string stopped_text(const v1::Stage& stage) {
  std::string how;
  if (stage.name() == "stopped-by-nmi") {
    how = "by an NMI";
  } else if (stage.name() == "stopped-by-irq") {
    how = "by an interrupt";
  } else if (stage.name() == "stopped-itself") {
    how = "stopped itself";
  } else {
    return {};
  }
  const std::string note = stage.note().empty() ? "" : fmt::format(": {}", stage.note());
  return fmt::format("CPU {} {} at {:.3f} s{}", stage.cpu(), how, seconds(stage.at()), note);
}

void add_stops(Lines& lines, const v1::Run& run) {
  lines.add_each(run.stages(), [&](const v1::Stage& stage) {
    if (const auto text = stopped_text(stage); !text.empty()) lines.add("stopped", text);
  });
}

void add_failed_checks(Lines& lines, const v1::Run& run) {
  lines.add_each(run.dump().checks(), [&](const v1::DumpCheck& check) {
    if (check.ok()) return;
    lines.add("dump", fmt::format("{}: expected {}, found {}", check.name(), check.expected(), check.actual()));
  });
  if (const auto& missing = run.dump().missing_cpus(); !missing.empty())
    lines.add("dump", fmt::format("no registers of CPU {}", fmt::join(missing, ", ")));
}

void add_places(Lines& lines, const v1::Run& run) {
  lines.add_each(run.places(), [&](const v1::CpuPlace& place) {
    std::string text = place.place().empty() ? fmt::format("{:#018x}", place.rip()) : place.place();
    if (place.where() == "first" || place.where() == "capture") text += fmt::format(" ({} kernel)", place.where());
    if (place.where() == "user") text += " (user mode)";
    text += place.interrupts_enabled() ? ", interrupts on" : ", interrupts off";
    if (place.nmis_blocked()) text += ", NMIs blocked";
    if (place.halted()) text += ", halted";
    lines.add(fmt::format("CPU {}", place.cpu()), text);
    const int frames = std::min(place.backtrace_size(), kMaxFrames);
    for (int i = 0; i < frames; ++i) lines.add("", fmt::format("  from {}", place.backtrace(i)));
    if (place.backtrace_size() > frames) lines.add("", fmt::format("  … {} frames in all", place.backtrace_size()));
  });
}

}  // namespace

std::vector<std::string> explain(const v1::Run& run, const std::filesystem::path& out) {
  Lines lines;
  if (run.expected_outcome() != v1::OUTCOME_UNSPECIFIED) lines.add("expected", outcome_word(run.expected_outcome()));
  lines.add("happened", run.has_wall()
                            ? fmt::format("{} after {:.1f} s", outcome_word(run.outcome()), seconds(run.wall()))
                            : outcome_word(run.outcome()));
  if (!run.detail().empty()) lines.add("because", run.detail());
  if (run.has_panic_message()) {
    lines.add("message", fmt::format("\"{}\": {}", run.panic_message().text(), message_words(run.panic_message())));
  }
  add_missed_step(lines, run);
  add_stops(lines, run);
  add_failed_checks(lines, run);
  add_places(lines, run);
  if (!run.file().empty()) lines.add("scenario", run.file());
  if (!run.artifacts().empty()) {
    const auto folder = out / run.artifacts();
    lines.add("logs", fmt::format("{} and agent.log", (folder / "console.log").native()));
  }
  return std::move(lines).take();
}

std::vector<std::string> narrate(const v1::Run& run) {
  Lines lines;
  lines.add_each(run.steps(),
                 [&](const v1::Step& step) { lines.add(fmt::format("step {}", step.number()), step_text(step)); });
  lines.add_each(run.stages(), [&](const v1::Stage& stage) {
    const std::string note = stage.note().empty() ? "" : fmt::format(": {}", stage.note());
    lines.add("stage", fmt::format("{:.3f} s {}{}{}", seconds(stage.at()), stage.name(), cpu_of(stage.cpu()), note));
  });
  add_places(lines, run);
  return std::move(lines).take();
}

std::string reason(const v1::Run& run) {
  constexpr std::size_t kColumns = 200;
  const std::string_view detail = run.detail();
  const auto first_line = detail.substr(0, detail.find('\n'));
  if (!first_line.empty()) return shorten(escape_untrusted(first_line), kColumns);
  if (settled_verdict(run) == v1::VERDICT_FAIL && run.expected_outcome() != v1::OUTCOME_UNSPECIFIED)
    return fmt::format("expected {}, was {}", outcome_word(run.expected_outcome()), outcome_word(run.outcome()));
  return outcome_word(run.outcome());
}

}  // namespace panicroom::harness
