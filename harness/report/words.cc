#include "harness/report/words.h"

#include <fmt/color.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "harness/report/untrusted_text.h"

namespace panicroom::harness {
namespace {

// OUTCOME_DUMP_INVALID → dump_invalid: the words of a scenario are the enumerators' names.
std::string lower_without_prefix(std::string_view name, std::string_view prefix) {
  std::string word(name.substr(prefix.size()));
  std::transform(word.begin(), word.end(), word.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return word;
}

fmt::text_style style_of(v1::Verdict verdict) {
  switch (verdict) {
    case v1::VERDICT_PASS:
      return fmt::fg(fmt::terminal_color::green);
    case v1::VERDICT_SKIP:
      return fmt::fg(fmt::terminal_color::yellow);
    case v1::VERDICT_FAIL:
      return fmt::fg(fmt::terminal_color::red) | fmt::emphasis::bold;
    default:
      return fmt::fg(fmt::terminal_color::magenta) | fmt::emphasis::bold;
  }
}

}  // namespace

std::string outcome_word(v1::Outcome outcome) {
  if (outcome == v1::OUTCOME_UNSPECIFIED || !v1::Outcome_IsValid(outcome)) return "no outcome";
  return lower_without_prefix(v1::Outcome_Name(outcome), "OUTCOME_");
}

std::string verdict_word(v1::Verdict verdict) {
  if (verdict == v1::VERDICT_UNSPECIFIED || !v1::Verdict_IsValid(verdict)) return "no verdict";
  return lower_without_prefix(v1::Verdict_Name(verdict), "VERDICT_");
}

std::string message_words(const v1::PanicMessage& message) {
  std::string words;
  const auto add = [&](v1::PanicMessage::State state, std::string_view where) {
    if (state == v1::PanicMessage::STATE_UNSPECIFIED || !v1::PanicMessage::State_IsValid(state)) return;
    const auto word = lower_without_prefix(v1::PanicMessage::State_Name(state), "STATE_");
    words += fmt::format("{}{} {}", words.empty() ? "" : ", ", word, where);
  };
  add(message.console(), "on the console");
  add(message.log(), "in the log");
  return words;
}

std::string verdict_label(v1::Verdict verdict, bool colour, std::size_t width) {
  std::string word = verdict_word(verdict);
  if (verdict == v1::VERDICT_FAIL) word = "FAIL";
  if (verdict == v1::VERDICT_ERROR) word = "ERROR";
  const std::string padding(width > word.size() ? width - word.size() : 0, ' ');
  return (colour ? fmt::format(style_of(verdict), "{}", word) : word) + padding;
}

double seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + static_cast<double>(duration.nanos()) * 1e-9;
}

std::string platform(const v1::Run& run) {
  std::string text = run.kernel_release().empty() ? "unknown kernel" : run.kernel_release();
  if (!run.capture_kernel_release().empty() && run.capture_kernel_release() != run.kernel_release())
    text += ", capture " + run.capture_kernel_release();
  if (!run.engine().empty()) text += ", " + run.engine();
  return escape_untrusted(text);
}

}  // namespace panicroom::harness
