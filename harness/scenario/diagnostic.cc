#include "harness/scenario/diagnostic.h"

#include <algorithm>
#include <tuple>

namespace panicroom::harness {

std::string render(std::span<const Diagnostic> diagnostics) {
  std::string text;
  for (const Diagnostic& d : diagnostics) {
    text += d.line > 0 ? fmt::format("{}:{}:{}: error: {}\n", d.file, d.line, d.column, d.message)
                       : fmt::format("{}: error: {}\n", d.file, d.message);
  }
  return text;
}

namespace {

void append_printable(std::string_view text, std::string& out) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
}

}  // namespace

std::string shown(std::string_view text) {
  constexpr std::size_t kMaxShown = 60;
  std::string out = "'";
  append_printable(text.substr(0, kMaxShown), out);
  return out + (text.size() > kMaxShown ? "...'" : "'");
}

void Diagnostics::add_message(Position at, std::string_view message) {
  Diagnostic diagnostic{.file = file_, .line = at.line, .column = at.column};
  // Also what came from elsewhere, such as the YAML library's own words.
  append_printable(message, diagnostic.message);
  found_.push_back(std::move(diagnostic));
}

std::vector<Diagnostic> Diagnostics::take() && {
  std::stable_sort(found_.begin(), found_.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::tie(a.line, a.column) < std::tie(b.line, b.column);
  });
  return std::move(found_);
}

}  // namespace panicroom::harness
