// Machine code to instructions: a bounded linear sweep in long mode, by Zydis. Knows bytes and addresses only; what a
// kernel's functions are is kernel_code.h's, what is looked for in them code_patterns.h's.
#pragma once

#include <Zydis/Zydis.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"

namespace panicroom::kernels {

// More than any function of a kernel has; what is longer is no function.
inline constexpr std::size_t kMaxCodeBytes = std::size_t{1} << 20;

// A stretch of code and where it is linked.
struct CodePart {
  LinkAddress base;
  Bytes bytes;
};

// What the matchers ask about an instruction; the terms are the Intel SDM's, Vol. 2.
struct Instruction {
  LinkAddress at;
  std::uint8_t length = 0;  // In bytes, 1 to 15.
  ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
  bool lock = false;                                // It has the LOCK prefix.
  std::uint16_t operand_bits = 0;                   // The width of its first operand.
  ZydisRegister destination = ZYDIS_REGISTER_NONE;  // Its first operand, if that is a register.
  ZydisRegister source = ZYDIS_REGISTER_NONE;       // Its second operand, likewise.
  std::optional<LinkAddress> target;                // Where a direct call or jump goes.
  // The address of its memory operand (for LEA: its result), if the code alone tells it: RIP-relative or absolute, and
  // not in a segment with a base of its own (per-CPU data, which is gs:).
  std::optional<LinkAddress> memory;
  // What is added to the register, if its memory operand is a register and a displacement, in no segment of its own.
  std::optional<std::int64_t> displacement;
  std::optional<std::uint64_t> immediate;  // Its second operand, sign-extended, if that is an immediate.

  [[nodiscard]] LinkAddress end() const { return at + length; }
};

struct Disassembly {
  std::vector<Instruction> instructions;  // Without gaps, from the first byte on.
  // Where the sweep had to stop: bytes that are no instruction, or one that the part's end cuts off.
  std::optional<LinkAddress> undecodable;
};

// At most kMaxCodeBytes are looked at: a longer part is undecodable there. Thread-safe.
Disassembly disassemble(CodePart part);

// What stands at an address, "panic_cpu" or "panic+0x8d"; nothing: shown as a number.
using AddressNamer = std::function<std::optional<std::string>(LinkAddress)>;

// One instruction of `part` in Intel syntax, as Zydis formats it, with addresses by name:
// "lock cmpxchg [panic_cpu], edx". Empty if there is no instruction at `at`. Thread-safe.
std::string instruction_text(CodePart part, LinkAddress at, const AddressNamer& name);

// Whether an instruction's text starts with these words: runs of white space count as one blank, and the last word must
// be whole ("lock cmpxchg" is no beginning of "lock cmpxchg16b").
bool starts_with_words(std::string_view text, std::string_view words);

}  // namespace panicroom::kernels
