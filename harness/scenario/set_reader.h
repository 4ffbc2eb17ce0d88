// The details of `do: set`: registers, flags and memory.
#pragma once

#include <optional>
#include <string>

#include "harness/scenario/fields.h"

namespace panicroom::harness {

// Reads `registers`, `flags` and `memory` of a step and reports what is wrong with them.
std::optional<Action> read_set(const Fields& step, Diagnostics& diagnostics);

// "rax, zf, panic_cpu": what is set, for people.
std::string to_text(const DoSet& set);

}  // namespace panicroom::harness
