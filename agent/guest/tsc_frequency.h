// The TSC's frequency as the running kernel has found it, from its log.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace panicroom::agent {

// In kHz, from the line "tsc: Detected 2093.852 MHz processor" (arch/x86/kernel/tsc.c). Nothing if there is no such
// line in the log, or one that says what cannot be.
std::optional<std::uint32_t> detected_tsc_khz(std::string_view log);

}  // namespace panicroom::agent
