// Edit distance with transpositions (optimal string alignment), in memory bounded by the length limit.
#include "base/spelling.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace panicroom {
namespace {

constexpr std::size_t kMaxLength = 64;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Both at most kMaxLength long.
std::size_t distance(std::string_view a, std::string_view b) {
  using Row = std::array<std::size_t, kMaxLength + 1>;
  Row before_last{};
  Row last{};
  Row row{};
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before_last = last;
    last = row;
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const char x = lower(a[i - 1]);
      const char y = lower(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (x == y ? 0u : 1u)});
      if (i > 1 && j > 1 && x == lower(b[j - 2]) && lower(a[i - 2]) == y)
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<std::string_view> closest_spelling(std::string_view word, std::span<const std::string_view> known) {
  if (word.empty() || word.size() > kMaxLength) return std::nullopt;
  std::optional<std::string_view> best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string_view candidate : known) {
    if (candidate.size() > kMaxLength) continue;
    const std::size_t d = distance(word, candidate);
    // A word of which nothing is left is not a slip.
    if (d < best_distance && d < std::max(word.size(), candidate.size())) {
      best = candidate;
      best_distance = d;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> known) {
  const auto near = closest_spelling(word, known);
  return near ? fmt::format(" (did you mean '{}'?)", *near) : std::string();
}

}  // namespace panicroom
