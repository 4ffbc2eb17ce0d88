#include "agent/guest/tsc_frequency.h"

#include <charconv>

namespace panicroom::agent {

std::optional<std::uint32_t> detected_tsc_khz(std::string_view log) {
  constexpr std::string_view kBegin = "tsc: Detected ";
  constexpr std::string_view kEnd = " MHz";
  constexpr std::uint32_t kMostMhz = 100'000;
  const auto begin = log.find(kBegin);
  if (begin == std::string_view::npos) return std::nullopt;
  auto text = log.substr(begin + kBegin.size());
  const auto end = text.find(kEnd);
  if (end == std::string_view::npos) return std::nullopt;
  text = text.substr(0, end);
  // "%lu.%03lu"
  const auto point = text.find('.');
  if (point == std::string_view::npos || text.size() - point != 4) return std::nullopt;
  const auto number = [](std::string_view digits) -> std::optional<std::uint32_t> {
    std::uint32_t value = 0;
    const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || rest != digits.data() + digits.size()) return std::nullopt;
    return value;
  };
  const auto mhz = number(text.substr(0, point));
  const auto khz = number(text.substr(point + 1));
  if (!mhz || !khz || *mhz == 0 || *mhz > kMostMhz) return std::nullopt;
  return *mhz * 1000 + *khz;
}

}  // namespace panicroom::agent
