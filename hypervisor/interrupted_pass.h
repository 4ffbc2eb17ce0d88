// Tells whether a single step executed an instruction or was diverted into an exception handler instead, and later
// whether a vCPU that stands at that instruction again has only come back from the handler. Long mode only: the frames
// are those of Intel SDM Vol. 3, 6.14.2.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "base/address.h"
#include "base/result.h"
#include "hypervisor/registers.h"

namespace panicroom::hypervisor {

// Reads guest memory as the vCPU in question sees it; false if it is not mapped.
using MemoryReader = std::function<bool(Gva at, std::span<std::byte> into)>;

// An instruction that was about to be executed when an exception came between.
struct InterruptedPass {
  std::uint64_t rip = 0;
  std::uint64_t rsp = 0;
  std::uint64_t rcx = 0;
  std::optional<Gva> frame;  // Where the handler's return frame is; nothing if the instruction merely repeats (REP).
};

// `before` and `after` a single step. Nothing if the instruction was executed, whatever it did.
std::optional<InterruptedPass> interrupted_by_step(const Registers& before, const Registers& after,
                                                   const MemoryReader& read);

// Whether `now`, at the same instruction, is the same pass. It is not if the handler changed where to return to (a
// fixup), so that what is seen now is the next execution.
bool same_pass(const InterruptedPass& pass, const Registers& now, const MemoryReader& read);

// Whether the instruction is a repeated string operation, of which a step executes one iteration (SDM Vol. 2B, "REP").
bool is_repeated_string_operation(std::span<const std::byte> instruction);

}  // namespace panicroom::hypervisor
