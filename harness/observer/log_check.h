// What a dead kernel's log says of why and where it died.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "harness/observer/crash_truth.h"
#include "harness/scenario/scenario.h"

namespace panicroom::harness {

// Where the log tells of the crash that `truth` knows: the panic with that message, or else the first oops. Nothing if
// it tells of none, or of another.
std::optional<std::size_t> find_crash_in_log(std::string_view log, const std::optional<PanicMessage>& message);

// What became of that message in a text of lines, a log or a console's. Whole lines that say one of `others`, what
// other CPUs called panic() with, are not taken for something of it.
MessageState message_state(std::string_view text, const PanicMessage& message,
                           std::span<const PanicMessage> others = {});

// The messages of the panics that the log tells of, for people: "first", "second".
std::string panics_in_log(std::string_view log);

// The CPU that the log names behind its first panic or oops line ("CPU: 1 PID: ..."); -1 if it names none.
std::int32_t panic_cpu_in_log(std::string_view log);
// The same behind the oops or the panic that begins there. Behind a panic only what comes before another CPU's oops or
// warning: records of CPUs stand between each other, and none says whose it is.
std::int32_t cpu_named_behind(std::string_view log, std::size_t begin);

}  // namespace panicroom::harness
