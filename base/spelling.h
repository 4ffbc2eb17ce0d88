// Near misses: which of the words that are known somebody may have meant.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace panicroom {

// The known word that `word` is most likely a slip of (at most a third of its letters wrong, case aside), or nothing.
// Words over 64 bytes have none.
std::optional<std::string_view> closest_spelling(std::string_view word, std::span<const std::string_view> known);

// " (did you mean 'X'?)", or nothing where no known word is near: the tail of an error message.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> known);

}  // namespace panicroom
