// The spelling of points. Leaves out whether a kernel has the place: that is the resolver's.
#include "kernels/points/point_spec.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "base/spelling.h"
#include "kernels/points/named_points.h"

namespace panicroom::kernels {
namespace {

constexpr std::size_t kMaxText = 1024;
constexpr std::size_t kMaxSymbol = 512;  // The kernel's KSYM_NAME_LEN, since 6.1.
constexpr std::size_t kMaxInstruction = 96;
constexpr std::uint32_t kMaxOrdinal = 9999;
constexpr std::string_view kForms =
    "symbol, symbol+0x3b, symbol/call:callee, symbol/insn:\"text\", symbol/return, or a named point";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_symbol(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.'; }
bool is_printable(char c) { return c >= 0x20 && c < 0x7f; }

// What a message may repeat of a text that anybody may have written.
std::string shown(std::string_view text) {
  constexpr std::size_t kMaxShown = 80;
  std::string out;
  for (const char c : text.substr(0, kMaxShown)) out += is_printable(c) ? c : '?';
  return text.size() > kMaxShown ? out + "..." : out;
}

// As the assembler and the compilers' suffixes (.constprop.0, .isra.3, .cold, $) make them.
Result<std::string> symbol_name(std::string_view text, std::string_view role) {
  if (text.empty()) return invalid_input("{} has no name", role);
  if (text.size() > kMaxSymbol) return invalid_input("{} is longer than {} characters", role, kMaxSymbol);
  const bool ok = starts_symbol(text.front()) && std::all_of(text.begin(), text.end(), [](char c) {
                    return starts_symbol(c) || is_digit(c) || c == '$' || c == '@';
                  });
  if (!ok) return invalid_input("{} '{}' is not a symbol's name", role, shown(text));
  return std::string(text);
}

// All of `text`, in decimal or, behind 0x, in hexadecimal.
std::optional<std::uint64_t> number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    base = 16;
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<std::uint32_t> ordinal(std::string_view text) {
  const auto value = number(text);
  if (!value || *value < 1 || *value > kMaxOrdinal) {
    return invalid_input("'#{}' is not an ordinal from 1 to {}", shown(text), kMaxOrdinal);
  }
  return static_cast<std::uint32_t>(*value);
}

Result<SymbolPoint> symbol_point(std::string_view text) {
  const auto plus = text.find('+');
  SymbolPoint point;
  point.symbol = TRY(symbol_name(text.substr(0, plus), "the symbol"));
  if (plus == std::string_view::npos) return point;
  const auto offset = number(text.substr(plus + 1));
  if (!offset) return invalid_input("'{}' is not an offset such as +0x3b or +59", shown(text.substr(plus)));
  point.offset = *offset;
  return point;
}

Result<CallPoint> call_point(std::string symbol, std::string_view callee) {
  CallPoint point{.symbol = std::move(symbol), .callee = {}};
  const auto hash = callee.find('#');
  point.callee = TRY(symbol_name(callee.substr(0, hash), "the function behind call:"));
  if (hash != std::string_view::npos) point.ordinal = TRY(ordinal(callee.substr(hash + 1)));
  return point;
}

Result<InstructionPoint> instruction_point(std::string symbol, std::string_view quoted) {
  if (!quoted.starts_with('"'))
    return invalid_input("the instruction behind insn: stands in double quotes: insn:\"pause\"");
  const auto close = quoted.find('"', 1);
  if (close == std::string_view::npos) return invalid_input("the double quote behind insn: is not closed");
  InstructionPoint point{.symbol = std::move(symbol), .text = std::string(quoted.substr(1, close - 1))};
  if (point.text.find_first_not_of(' ') == std::string::npos)
    return invalid_input("the instruction behind insn: is empty");
  if (point.text.size() > kMaxInstruction) {
    return invalid_input("the instruction behind insn: is longer than {} characters", kMaxInstruction);
  }
  if (!std::all_of(point.text.begin(), point.text.end(), is_printable)) {
    return invalid_input("the instruction behind insn: has a character that no instruction has");
  }
  const std::string_view tail = quoted.substr(close + 1);
  if (tail.empty()) return point;
  if (!tail.starts_with('#')) return invalid_input("'{}' behind the instruction is not #n", shown(tail));
  point.ordinal = TRY(ordinal(tail.substr(1)));
  return point;
}

Error unknown_named_point(std::string_view text) {
  std::array<std::string_view, kNamedPoints.size()> names;
  std::transform(kNamedPoints.begin(), kNamedPoints.end(), names.begin(), [](const auto& entry) { return entry.name; });
  return invalid_input("'{}' is not a point{}; a point is {}: {}", shown(text), did_you_mean(text, names), kForms,
                       fmt::join(names, ", "));
}

bool is_named(std::string_view text) {
  return std::any_of(kNamedPoints.begin(), kNamedPoints.end(), [&](const auto& entry) { return entry.name == text; });
}

}  // namespace

Result<PointSpec> PointSpec::parse(std::string_view text) {
  if (text.empty()) return invalid_input("a point has no name; it is {}", kForms);
  if (text.size() > kMaxText) return invalid_input("a point's name is longer than {} characters", kMaxText);
  PointSpec spec;
  spec.text = text;
  if (is_named(text)) {
    spec.what = NamedPoint{.name = spec.text};
    return spec;
  }
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) {
    spec.what = TRY(symbol_point(text));
    return spec;
  }
  constexpr std::string_view kCall = "call:";
  constexpr std::string_view kInsn = "insn:";
  const std::string_view detail = text.substr(slash + 1);
  const bool call = detail.starts_with(kCall);
  const bool insn = detail.starts_with(kInsn);
  if (!call && !insn && detail != "return") return unknown_named_point(text);
  std::string symbol = TRY(symbol_name(text.substr(0, slash), "the symbol"));
  if (call) {
    spec.what = TRY(call_point(std::move(symbol), detail.substr(kCall.size())));
  } else if (insn) {
    spec.what = TRY(instruction_point(std::move(symbol), detail.substr(kInsn.size())));
  } else {
    spec.what = ReturnPoint{.symbol = std::move(symbol)};
  }
  return spec;
}

}  // namespace panicroom::kernels
