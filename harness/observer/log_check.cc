#include "harness/observer/log_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace panicroom::harness {
namespace {

constexpr std::string_view kPanic = "Kernel panic - not syncing: ";
// As 5.10 with PREEMPT_RT says it: the message is a record of its own, and another CPU's may come between.
constexpr std::string_view kPanicOnItsOwn = "Kernel panic - not syncing:\n";
constexpr std::string_view kBannerOnItsOwn = "Kernel panic - not syncing:";
constexpr int kRecordsBetween = 16;
constexpr std::array<std::string_view, 6> kOopses = {
    "BUG: ", "Oops: ", "kernel BUG at ", "general protection fault", "divide error: ", "double fault: "};
constexpr std::size_t kMostText = 256;

// Digits at the start of the text.
std::optional<std::int32_t> leading_number(std::string_view text) {
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value < 0) return std::nullopt;
  return value;
}

std::string_view line_at(std::string_view log, std::size_t at) {
  return log.substr(at, std::min(log.find('\n', at), log.size()) - at);
}

// Without the time at its beginning, and a console's carriage return at its end.
std::string_view text_of_line_at(std::string_view log, std::size_t at) {
  auto line = line_at(log, at);
  if (line.ends_with('\r')) line.remove_suffix(1);
  const auto end_of_time = line.starts_with('[') ? line.find("] ") : std::string_view::npos;
  return end_of_time == std::string_view::npos ? line : line.substr(end_of_time + 2);
}

// The beginning of the line behind the one at `at`; the log's end if there is none.
std::size_t next_line(std::string_view log, std::size_t at) { return std::min(log.find('\n', at), log.size() - 1) + 1; }

bool says(std::string_view line, const PanicMessage& message) {
  return message.whole ? line == message.text : line.starts_with(message.text);
}

// The line among the next ones that says it.
std::optional<std::size_t> line_behind(std::string_view log, std::size_t at, const PanicMessage& message) {
  for (int i = 0; i < kRecordsBetween && at < log.size(); ++i) {
    at = next_line(log, at);
    if (at < log.size() && says(text_of_line_at(log, at), message)) return at;
  }
  return std::nullopt;
}

// A CPU that got no time on a busy host is reported, and goes on: kernel/watchdog.c, kernel/workqueue.c.
bool is_lockup(std::string_view text) {
  return text.starts_with("BUG: soft lockup") || text.starts_with("BUG: workqueue lockup");
}

std::size_t first_oops(std::string_view log) {
  std::size_t first = std::string_view::npos;
  for (const std::string_view oops : kOopses) {
    auto at = log.find(oops);
    while (at != std::string_view::npos && is_lockup(log.substr(at))) at = log.find(oops, at + 1);
    first = std::min(first, at);
  }
  return first;
}

// Of a CPU that says where it is without being about to panic.
std::size_t first_report(std::string_view log) { return std::min(first_oops(log), log.find("WARNING: CPU: ")); }

}  // namespace

std::optional<std::size_t> find_crash_in_log(std::string_view log, const std::optional<PanicMessage>& message) {
  if (!message) {
    const auto oops = first_oops(log);
    if (oops == std::string_view::npos) return std::nullopt;
    return oops;
  }
  for (std::size_t at = log.find(kPanic); at != std::string_view::npos; at = log.find(kPanic, at + 1)) {
    if (says(line_at(log, at + kPanic.size()), *message)) return at;
  }
  const auto banner = log.find(kPanicOnItsOwn);
  return banner == std::string_view::npos ? std::nullopt : line_behind(log, banner, *message);
}

MessageState message_state(std::string_view text, const PanicMessage& message, std::span<const PanicMessage> others) {
  bool something = false;
  for (std::size_t at = 0; at < text.size(); at = next_line(text, at)) {
    // Behind the time there must be the banner and nothing before it: another CPU's words would stand there.
    const auto line = text_of_line_at(text, at);
    const auto is_whole = [&](const PanicMessage& one) {
      if (line.starts_with(kPanic)) return says(line.substr(kPanic.size()), one);
      return line == kBannerOnItsOwn && line_behind(text, at, one).has_value();
    };
    if (is_whole(message)) return MessageState::kWhole;
    if (std::ranges::any_of(others, is_whole)) continue;
    something |=
        line.find("Kernel panic") != std::string_view::npos || line.find("not syncing") != std::string_view::npos;
  }
  return something ? MessageState::kGarbled : MessageState::kAbsent;
}

std::string panics_in_log(std::string_view log) {
  std::string text;
  for (std::size_t at = log.find(kPanic); at != std::string_view::npos; at = log.find(kPanic, at + 1)) {
    if (text.size() > kMostText) break;
    text += fmt::format("{}\"{}\"", text.empty() ? "" : ", ", line_at(log, at + kPanic.size()).substr(0, kMostText));
  }
  if (!text.empty()) return text;
  const auto alone = log.find(kPanicOnItsOwn);
  if (alone == std::string_view::npos) return "no panic";
  const auto behind = next_line(log, alone);
  return fmt::format("a panic, and behind it \"{}\"",
                     behind < log.size() ? text_of_line_at(log, behind).substr(0, kMostText) : "");
}

std::int32_t cpu_named_behind(std::string_view log, std::size_t begin) {
  constexpr std::string_view kCpu = "CPU: ";
  if (log.substr(std::min(begin, log.size())).starts_with("Kernel panic")) {
    const auto next = next_line(log, begin);
    log = log.substr(0, next + std::min(first_report(log.substr(next)), log.size() - next));
  }
  while (begin < log.size()) {
    const auto at = log.find(kCpu, begin);
    if (at == std::string_view::npos) return -1;
    if (const auto number = leading_number(log.substr(at + kCpu.size()))) return *number;
    begin = at + kCpu.size();
  }
  return -1;
}

std::int32_t panic_cpu_in_log(std::string_view log) {
  const auto panic = cpu_named_behind(log, log.find("Kernel panic - not syncing"));
  // An oops goes to the capture kernel without a word of panic().
  return panic >= 0 ? panic : cpu_named_behind(log, first_oops(log));
}

}  // namespace panicroom::harness
