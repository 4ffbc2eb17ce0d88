// Text that a guest, a kernel image or a file wrote, made harmless for where it is shown. Terminals obey control
// characters, XML 1.0 cannot carry most of them and protobuf's strings must be UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace panicroom::harness {

enum class Newlines { kKeep, kEscape };

// Valid UTF-8 without control characters: C0 (tab and, if kept, newline excepted), DEL, C1, line separators,
// bidirectional controls, noncharacters and the byte order mark become \x1b or \u{202e}, bytes that are not UTF-8 \xff.
// For display only: a backslash is left as it is, so this cannot be undone. The result is a valid XML 1.0 text.
std::string escape_untrusted(std::string_view text, Newlines newlines = Newlines::kEscape);

// The text with each byte that is not part of valid UTF-8 replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

// The number of code points of valid UTF-8, taken as the columns it fills.
std::size_t columns(std::string_view text);

// The text and so many spaces behind it that `width` columns are filled.
std::string padded(std::string_view text, std::size_t width);

// At most `width` columns of valid UTF-8, the last of them "…" if something was cut off.
std::string shorten(std::string_view text, std::size_t width);

}  // namespace panicroom::harness
