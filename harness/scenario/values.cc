#include "harness/scenario/values.h"

#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "base/spelling.h"
#include "harness/scenario/diagnostic.h"

namespace panicroom::harness {
namespace {

using std::chrono::nanoseconds;

// All of `text` in that base: neither sign nor blanks.
std::optional<std::uint64_t> digits(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> decimal(std::string_view text) {
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return digits(text, 10);
}

// `12ms` is 12 and "ms".
std::pair<std::string_view, std::string_view> number_with_unit(std::string_view text) {
  const auto end = text.find_first_not_of("0123456789");
  if (end == std::string_view::npos) return {text, {}};
  return {text.substr(0, end), text.substr(end)};
}

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 4> kSizeUnits = {
    {{"K", 1ull << 10}, {"M", 1ull << 20}, {"G", 1ull << 30}, {"T", 1ull << 40}}};

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 6> kTimeUnits = {{{"h", 3'600'000'000'000ull},
                                                                                   {"m", 60'000'000'000ull},
                                                                                   {"s", 1'000'000'000ull},
                                                                                   {"ms", 1'000'000ull},
                                                                                   {"us", 1'000ull},
                                                                                   {"ns", 1ull}}};

template <std::size_t N>
std::optional<std::uint64_t> scaled(std::string_view text,
                                    const std::array<std::pair<std::string_view, std::uint64_t>, N>& units) {
  const auto [number, unit] = number_with_unit(text);
  const auto value = decimal(number);
  if (!value) return std::nullopt;
  for (const auto& [name, factor] : units) {
    if (name != unit) continue;
    if (*value > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
    return *value * factor;
  }
  return std::nullopt;
}

Result<At> parse_ipi(std::string_view text, std::string_view kind) {
  if (kind == "stop") return AtIpi{.kind = AtIpi::Kind::kStop};
  if (kind == "nmi") return AtIpi{.kind = AtIpi::Kind::kNmi};
  if (kind.starts_with("0x")) {
    const auto vector = digits(kind.substr(2), 16);
    // Below are the exceptions: no IPI has such a vector (SDM Vol. 3, 11.5.2).
    if (vector && *vector >= 0x10 && *vector <= 0xff) {
      return AtIpi{.kind = AtIpi::Kind::kVector, .vector = static_cast<std::uint8_t>(*vector)};
    }
  }
  constexpr std::array<std::string_view, 2> kKinds = {"ipi:stop", "ipi:nmi"};
  return invalid_input("{} is not ipi:stop, ipi:nmi or a vector such as ipi:0xf8{}", shown(text),
                       did_you_mean(text, kKinds));
}

struct AtText {
  std::string operator()(const Here&) const { return ""; }
  std::string operator()(const AtWorkload&) const { return "workload"; }
  std::string operator()(const AtNmi&) const { return "nmi"; }
  std::string operator()(const AtPoint& at) const { return at.spec.text; }
  std::string operator()(const AtIpi& at) const {
    switch (at.kind) {
      case AtIpi::Kind::kStop:
        return "ipi:stop";
      case AtIpi::Kind::kNmi:
        return "ipi:nmi";
      case AtIpi::Kind::kVector:
        return fmt::format("ipi:{:#x}", at.vector);
    }
    return "";
  }
};

}  // namespace

Result<std::uint64_t> parse_whole_number(std::string_view text) {
  const auto value = decimal(text);
  if (!value) return invalid_input("{} is not a whole number", shown(text));
  return *value;
}

Result<std::uint64_t> parse_machine_word(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view magnitude = text.substr(negative ? 1 : 0);
  const bool hex = magnitude.starts_with("0x") || magnitude.starts_with("0X");
  const auto value = hex ? digits(magnitude.substr(2), 16) : decimal(magnitude);
  if (!value || (negative && *value > 1ull << 63)) {
    return invalid_input("{} is not a number of 64 bits such as 1, -1 or 0xffff", shown(text));
  }
  return negative ? 0 - *value : *value;
}

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto value = scaled(text, kSizeUnits);
  if (!value) return invalid_input("{} is not a size such as 64K, 512M or 1G", shown(text));
  return *value;
}

Result<Nanoseconds> parse_duration(std::string_view text) {
  const auto value = scaled(text, kTimeUnits);
  if (!value) return invalid_input("{} is not a duration such as 100us, 250ms, 5s or 2m", shown(text));
  if (*value > static_cast<std::uint64_t>(kMaxDuration.count())) {
    return invalid_input("{} is longer than {}", shown(text), to_text(kMaxDuration));
  }
  return nanoseconds(static_cast<nanoseconds::rep>(*value));
}

Result<At> parse_at(std::string_view text) {
  if (text == "workload") return AtWorkload{};
  if (text == "nmi") return AtNmi{};
  constexpr std::string_view kIpi = "ipi:";
  if (text.starts_with(kIpi)) return parse_ipi(text, text.substr(kIpi.size()));
  return AtPoint{.spec = TRY(kernels::PointSpec::parse(text))};
}

std::string to_text(const At& at) { return std::visit(AtText{}, at); }

std::string to_text(Nanoseconds duration) {
  const auto count = static_cast<std::uint64_t>(duration.count());
  for (const auto& [name, factor] : kTimeUnits) {
    if (count != 0 && count % factor == 0) return fmt::format("{}{}", count / factor, name);
  }
  return fmt::format("{}ns", count);
}

}  // namespace panicroom::harness
