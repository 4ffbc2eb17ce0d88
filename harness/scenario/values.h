// The written form of single values: sizes, durations, numbers, places. Text in, value out; errors are kInvalidInput
// and say what the form is. Where in the file the text stands is the caller's to add.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "harness/scenario/scenario.h"

namespace panicroom::harness {

// Decimal, without sign or leading zeros.
Result<std::uint64_t> parse_whole_number(std::string_view text);
// A decimal or 0x-hexadecimal number of 64 bits; a negative one (down to -2^63) as its two's complement.
Result<std::uint64_t> parse_machine_word(std::string_view text);
// `64K`, `512M`, `1G`: bytes, by powers of 1024.
Result<std::uint64_t> parse_size(std::string_view text);
// `100us`, `250ms`, `5s`, `2m`, `1h`; at most kMaxDuration.
Result<Nanoseconds> parse_duration(std::string_view text);
inline constexpr Nanoseconds kMaxDuration = std::chrono::hours(1);
// `workload`, `nmi`, `ipi:stop`, `ipi:nmi`, `ipi:0xf8`, or a point in the kernel.
Result<At> parse_at(std::string_view text);

// The same place in the grammar's words; "" for Here.
std::string to_text(const At& at);
// "2s", "1500us": in the largest unit that divides it.
std::string to_text(Nanoseconds duration);

}  // namespace panicroom::harness
