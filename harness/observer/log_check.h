// What a dead kernel's log says of why and where it died.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "harness/observer/crash_truth.h"

namespace panicroom::harness {

// Where the log tells of the crash that `truth` knows: the panic with that message, or else the first oops. Nothing if
// it tells of none, or of another.
std::optional<std::size_t> find_crash_in_log(std::string_view log, const std::optional<PanicMessage>& message);

// The messages of the panics that the log tells of, for people: "first", "second".
std::string panics_in_log(std::string_view log);

// The CPU that the log names behind its first panic or oops line ("CPU: 1 PID: ..."); -1 if it names none.
std::int32_t panic_cpu_in_log(std::string_view log);
// The same behind `begin`.
std::int32_t cpu_named_behind(std::string_view log, std::size_t begin);

}  // namespace panicroom::harness
