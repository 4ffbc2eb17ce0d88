#include "harness/scenario/timeline_reader.h"

#include <algorithm>
#include <array>
#include <utility>

#include "agent/protocol/start_page.h"
#include "agent/protocol/workloads.h"
#include "base/spelling.h"
#include "harness/scenario/fields.h"
#include "harness/scenario/set_reader.h"
#include "harness/scenario/values.h"

namespace panicroom::harness {
namespace {

constexpr std::uint64_t kMaxHit = 1'000'000;
constexpr std::uint64_t kMaxInstructions = 1'000'000;
constexpr std::size_t kMaxPanicMessage = 200;
// Of IA32_MCi_STATUS (Intel SDM Vol. 3B, 15.3.2.2): the register holds an error.
constexpr std::uint64_t kMceValid = 1ull << 63;

constexpr std::string_view kDefaultPanicMessage = "panicroom";

// Keys of every step, and behind them those that only some actions take.
constexpr std::array<std::string_view, 17> kStepKeys = {"cpu",     "at",     "after",    "do",    "hit",       "alone",
                                                        "message", "for",    "until",    "count", "registers", "add",
                                                        "flags",   "memory", "workload", "bank",  "status"};
constexpr std::array<std::string_view, 4> kAnyStepKeys = {"cpu", "at", "after", "do"};

using ReadAction = std::optional<Action> (*)(const Fields&, Diagnostics&);

std::optional<Action> read_panic(const Fields& fields, Diagnostics& diagnostics) {
  DoPanic panic{.message = std::string(kDefaultPanicMessage)};
  const YamlNode* node = fields.find("message");
  if (node == nullptr) return panic;
  const auto message = read_text(*node, "message", diagnostics);
  if (!message) return std::nullopt;
  const bool printable = std::ranges::all_of(*message, [](char c) { return c >= 0x20 && c < 0x7f; });
  if (message->empty() || message->size() > kMaxPanicMessage || !printable) {
    diagnostics.add(node->at, "'message' is one line of 1 to {} printable ASCII characters", kMaxPanicMessage);
    return std::nullopt;
  }
  if (message->find('%') != std::string::npos) {
    diagnostics.add(node->at, "'message' has a '%', which panic() takes for the start of a format");
    return std::nullopt;
  }
  panic.message = *message;
  return panic;
}

std::optional<Action> read_mce(const Fields& fields, Diagnostics& diagnostics) {
  DoMce mce;
  bool ok = true;
  if (const YamlNode* node = fields.find("bank")) {
    const auto bank = read_whole_number(*node, "bank", 0, hypervisor::kMaxMceBank, diagnostics);
    mce.error.bank = static_cast<std::uint32_t>(bank.value_or(0));
    ok = bank.has_value();
  }
  if (const YamlNode* node = fields.find("status")) {
    const auto status = read_machine_word(*node, "status", diagnostics);
    mce.error.status = status.value_or(0);
    ok = ok && status.has_value();
    if (status && (*status & kMceValid) == 0) {
      diagnostics.add(node->at, "'status': {} holds no error: bit 63 of IA32_MCi_STATUS says that there is one",
                      shown(node->text));
      ok = false;
    }
  }
  return ok ? std::optional<Action>(mce) : std::nullopt;
}

template <bool kIrqsOff>
std::optional<Action> read_spin(const Fields& fields, Diagnostics& diagnostics) {
  DoSpin window{.irqs_off = kIrqsOff, .for_time = {}, .until = {}};
  bool ok = true;
  const YamlNode* for_node = fields.find("for");
  const YamlNode* until_node = fields.find("until");
  if (for_node != nullptr) {
    window.for_time = read_duration(*for_node, "for", diagnostics);
    ok = window.for_time.has_value();
  }
  if (until_node != nullptr) {
    window.until = read_at(*until_node, "until", diagnostics);
    ok = ok && window.until.has_value();
    if (window.until && std::holds_alternative<AtWorkload>(*window.until)) {
      diagnostics.add(until_node->at, "'until' takes an event or a point; every CPU passes 'workload' all the time");
      ok = false;
    }
  }
  if (for_node != nullptr && until_node != nullptr) {
    diagnostics.add(fields.key_at("until"), "'{}' takes 'for' or 'until', not both", kIrqsOff ? "irqs-off" : "spin");
    ok = false;
  }
  return ok ? std::optional<Action>(window) : std::nullopt;
}

std::optional<Action> read_step(const Fields& fields, Diagnostics& diagnostics) {
  const YamlNode* node = fields.find("count");
  if (node == nullptr) return DoStep{};
  const auto count = read_whole_number(*node, "count", 1, kMaxInstructions, diagnostics);
  if (!count) return std::nullopt;
  return DoStep{.count = static_cast<std::uint32_t>(*count)};
}

std::optional<Action> read_start(const Fields& fields, Diagnostics& diagnostics) {
  const YamlNode* node = fields.require("workload");
  if (node == nullptr) return std::nullopt;
  std::vector<std::string_view> names;
  for (const agent::Workload& known : agent::workloads()) names.push_back(known.name);
  const auto word = read_word(*node, "workload", names, diagnostics);
  if (!word) return std::nullopt;
  return DoStart{.workload = std::string(names[*word])};
}

template <typename T>
std::optional<Action> plain(const Fields&, Diagnostics&) {
  return T{};
}

struct ActionGrammar {
  std::string_view name;
  ReadAction read;
  std::vector<std::string_view> keys;  // Beside cpu, at and do.
};

const std::array<ActionGrammar, 13>& actions() {
  static const std::array<ActionGrammar, 13> kTable = {{
      {"panic", read_panic, {"hit", "alone", "message"}},
      {"oops", plain<DoOops>, {"hit", "alone"}},
      {"nmi", plain<DoNmi>, {"hit", "alone"}},
      {"mce", read_mce, {"hit", "alone", "bank", "status"}},
      {"irqs-off", read_spin<true>, {"hit", "alone", "for", "until"}},
      {"spin", read_spin<false>, {"hit", "alone", "for", "until"}},
      {"hold", plain<DoHold>, {"hit", "alone"}},
      {"release", plain<DoRelease>, {}},
      {"set", read_set, {"hit", "alone", "registers", "add", "flags", "memory"}},
      {"skip", plain<DoSkip>, {"hit", "alone"}},
      {"note", plain<DoNote>, {"hit", "alone"}},
      {"step", read_step, {"hit", "alone", "count"}},
      {"start", read_start, {"hit", "alone", "workload"}},
  }};
  return kTable;
}

// Keys that are right elsewhere but not with this action.
void check_action_keys(const YamlNode& node, const ActionGrammar& action, Diagnostics& diagnostics) {
  const auto takes = [](const ActionGrammar& a, std::string_view key) {
    return std::ranges::find(kAnyStepKeys, key) != kAnyStepKeys.end() || std::ranges::find(a.keys, key) != a.keys.end();
  };
  for (const YamlNode& key : node.keys) {
    if (key.kind != YamlNode::Kind::kScalar || takes(action, key.text)) continue;
    std::vector<std::string_view> takers;
    for (const ActionGrammar& other : actions()) {
      if (takes(other, key.text)) takers.push_back(other.name);
    }
    if (takers.empty()) continue;  // Unknown everywhere: reported as such.
    diagnostics.add(key.at, "'{}' takes no '{}' (these do: {})", action.name, key.text, fmt::join(takers, ", "));
  }
}

void read_action(const YamlNode& node, const Fields& fields, ReadStep& step, Diagnostics& diagnostics) {
  const YamlNode* word = fields.require("do");
  if (word == nullptr) return;
  step.action_at = word->at;
  std::vector<std::string_view> names;
  for (const ActionGrammar& action : actions()) names.push_back(action.name);
  const auto found = read_word(*word, "do", names, diagnostics);
  if (!found) return;
  const ActionGrammar& action = actions()[*found];
  step.action_word = action.name;
  check_action_keys(node, action, diagnostics);
  step.action = action.read(fields, diagnostics);
}

// One duration, or the two between which it is drawn.
std::optional<Wait> read_wait(const YamlNode& node, Diagnostics& diagnostics) {
  if (node.kind != YamlNode::Kind::kSequence) {
    const auto duration = read_duration(node, "after", diagnostics);
    return duration ? std::optional(Wait{*duration, *duration}) : std::nullopt;
  }
  if (node.items.size() != 2) {
    diagnostics.add(node.at, "'after' is a duration such as 20ms, or the two between which it is drawn: [1ms, 50ms]");
    return std::nullopt;
  }
  const auto least = read_duration(node.items[0], "after", diagnostics);
  const auto most = read_duration(node.items[1], "after", diagnostics);
  if (!least || !most) return std::nullopt;
  if (*least > *most) {
    diagnostics.add(node.at, "'after': {} is more than {}", to_text(*least), to_text(*most));
    return std::nullopt;
  }
  return Wait{*least, *most};
}

void read_when(const Fields& fields, ReadStep& step, Diagnostics& diagnostics) {
  step.at_at = step.step_at;
  step.at = Here{};
  const YamlNode* at = fields.find("at");
  if (at != nullptr) {
    step.at_at = at->at;
    step.at = read_at(*at, "at", diagnostics);
    if (step.action_word == "release") {
      diagnostics.add(fields.key_at("at"), "'release' takes no 'at': a held CPU stays where it is until this step");
    }
  }
  if (const YamlNode* after = fields.find("after")) {
    step.after = read_wait(*after, diagnostics);
    if (at != nullptr) diagnostics.add(fields.key_at("after"), "a step takes 'at' or 'after', not both");
  }
  if (const YamlNode* hit = fields.find("hit")) {
    const auto value = read_whole_number(*hit, "hit", 1, kMaxHit, diagnostics);
    step.hit = static_cast<std::uint32_t>(value.value_or(1));
    if (at == nullptr && step.action_word != "release") {
      diagnostics.add(fields.key_at("hit"), "'hit' counts the passes of an 'at', and this step has none");
    }
  }
  if (const YamlNode* alone = fields.find("alone")) {
    step.alone = read_bool(*alone, "alone", diagnostics).value_or(false);
    step.alone_at = fields.key_at("alone");
    if (step.alone && at == nullptr && step.action_word != "release") {
      diagnostics.add(step.alone_at, "'alone' runs the CPU to its 'at', and this step has none");
    }
  }
}

std::string ordinal(std::uint32_t n) {
  const std::uint32_t tens = n % 100;
  const char* ending = "th";
  if (tens < 11 || tens > 13) {
    if (n % 10 == 1) ending = "st";
    if (n % 10 == 2) ending = "nd";
    if (n % 10 == 3) ending = "rd";
  }
  return fmt::format("{}{}", n, ending);
}

std::string detail(const Action& action) {
  if (const auto* mce = std::get_if<DoMce>(&action)) return " " + to_text(mce->error);
  if (const auto* window = std::get_if<DoSpin>(&action)) {
    if (window->for_time) return " for " + to_text(*window->for_time);
    if (window->until) return " until " + to_text(*window->until);
  }
  if (const auto* step = std::get_if<DoStep>(&action)) {
    return step->count == 1 ? " 1 instruction" : fmt::format(" {} instructions", step->count);
  }
  if (const auto* set = std::get_if<DoSet>(&action)) return " " + to_text(*set);
  if (const auto* start = std::get_if<DoStart>(&action)) return " " + start->workload;
  return "";
}

}  // namespace

std::vector<ReadStep> read_timeline(const YamlNode& node, std::uint32_t vcpus, Diagnostics& diagnostics) {
  std::vector<ReadStep> steps;
  const auto items = read_list(node, "timeline", "[{cpu: 0, at: workload, do: panic}]", diagnostics);
  if (node.kind == YamlNode::Kind::kSequence && items.empty()) diagnostics.add(node.at, "'timeline' has no steps");
  for (const YamlNode& item : items) {
    ReadStep step{.number = static_cast<std::uint32_t>(steps.size() + 1), .step_at = item.at};
    const std::string what = fmt::format("step {}", step.number);
    const Fields fields(item, what, kStepKeys, diagnostics);
    step.action_at = step.at_at = step.alone_at = item.at;
    if (const YamlNode* cpu = fields.require("cpu")) step.cpu = read_cpu(*cpu, "cpu", vcpus, diagnostics);
    read_action(item, fields, step, diagnostics);
    read_when(fields, step, diagnostics);
    steps.push_back(std::move(step));
  }
  const auto started = std::ranges::count(steps, "start", &ReadStep::action_word);
  if (started > static_cast<std::ptrdiff_t>(agent::kMaxStarts)) {
    diagnostics.add(node.at, "'timeline' starts {} workloads; at most {} can wait to be started", started,
                    agent::kMaxStarts);
  }
  return steps;
}

Step to_step(const ReadStep& read) {
  Step step{.number = read.number,
            .cpu = *read.cpu,
            .at = *read.at,
            .after = read.after,
            .action = *read.action,
            .hit = read.hit,
            .alone = read.alone,
            .line = read.step_at.line,
            .text = fmt::format("cpu {}: {}{}", index(*read.cpu), read.action_word, detail(*read.action))};
  if (const std::string place = to_text(step.at); !place.empty()) step.text += " at " + place;
  if (step.after && step.after->least == step.after->most) step.text += " after " + to_text(step.after->most);
  if (step.after && step.after->least != step.after->most) {
    step.text += fmt::format(" after {} to {}", to_text(step.after->least), to_text(step.after->most));
  }
  if (step.hit != 1) step.text += fmt::format(", {} pass", ordinal(step.hit));
  if (step.alone) step.text += ", alone";
  return step;
}

}  // namespace panicroom::harness
