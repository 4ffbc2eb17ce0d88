#include "harness/report/untrusted_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace panicroom::harness {
namespace {

struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 0;
};

// The code point that `text` (not empty) begins with; nothing if it is overlong, a surrogate, out of range or cut off.
std::optional<CodePoint> decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return CodePoint{lead, 1};
  CodePoint point;
  char32_t smallest = 0;
  if ((lead & 0xe0) == 0xc0) {
    point = {lead & 0x1fu, 2};
    smallest = 0x80;
  } else if ((lead & 0xf0) == 0xe0) {
    point = {lead & 0x0fu, 3};
    smallest = 0x800;
  } else if ((lead & 0xf8) == 0xf0) {
    point = {lead & 0x07u, 4};
    smallest = 0x10000;
  } else {
    return std::nullopt;
  }
  if (text.size() < point.bytes) return std::nullopt;
  for (std::size_t i = 1; i < point.bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return std::nullopt;
    point.value = point.value << 6 | (byte(i) & 0x3fu);
  }
  const bool surrogate = point.value >= 0xd800 && point.value <= 0xdfff;
  if (point.value < smallest || point.value > 0x10ffff || surrogate) return std::nullopt;
  return point;
}

bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) ||  // C0, DEL, C1
         c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) ||  // separators of lines and controls of direction
         c == 0xfeff || (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;  // byte order mark, noncharacters
}

}  // namespace

std::string escape_untrusted(std::string_view text, Newlines newlines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto point = decode(text);
    const std::size_t length = point ? point->bytes : 1;
    if (!point) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (const char32_t c = point->value;
               !is_control(c) || c == U'\t' || (c == U'\n' && newlines == Newlines::kKeep)) {
      out += text.substr(0, length);
    } else if (c < 0x80) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      out += fmt::format("\\u{{{:04x}}}", static_cast<unsigned>(c));
    }
    text.remove_prefix(length);
  }
  return out;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto point = decode(text);
    const std::size_t length = point ? point->bytes : 1;
    out += point ? text.substr(0, length) : std::string_view("\xef\xbf\xbd");
    text.remove_prefix(length);
  }
  return out;
}

std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string padded(std::string_view text, std::size_t width) {
  const std::size_t used = columns(text);
  return std::string(text) + std::string(width > used ? width - used : 0, ' ');
}

std::string shorten(std::string_view text, std::size_t width) {
  if (columns(text) <= width) return std::string(text);
  if (width == 0) return {};
  std::size_t end = 0;
  for (std::size_t kept = 0; kept + 1 < width; ++kept) {
    const auto point = decode(text.substr(end));
    end += point ? point->bytes : 1;
  }
  return std::string(text.substr(0, end)) + "…";
}

}  // namespace panicroom::harness
