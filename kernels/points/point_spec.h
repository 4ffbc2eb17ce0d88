// The names of instructions, as scenarios write them after `at:`. A name holds across kernels without debug
// information; points/resolver.h finds where it lies in one kernel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"

namespace panicroom::kernels {

// `symbol` or `symbol+0x3b`.
struct SymbolPoint {
  std::string symbol;
  std::uint64_t offset = 0;
};
// `symbol/call:callee[#n]`: the n-th (from 1) call of `callee` in `symbol`, tail calls included.
struct CallPoint {
  std::string symbol;
  std::string callee;
  std::uint32_t ordinal = 1;
};
// `symbol/insn:"lock cmpxchg"[#n]`: the n-th instruction whose text (Intel syntax, as Zydis formats it) starts with
// these words, prefixes included.
struct InstructionPoint {
  std::string symbol;
  std::string text;
  std::uint32_t ordinal = 1;
};
// `symbol/return`: every return of `symbol`.
struct ReturnPoint {
  std::string symbol;
};
// `panic/gate`: a name from the table in points/named_points.h.
struct NamedPoint {
  std::string name;
};

struct PointSpec {
  std::variant<SymbolPoint, CallPoint, InstructionPoint, ReturnPoint, NamedPoint> what;
  std::string text;  // As the scenario has it.

  // Understands the spelling alone; whether a kernel has such a place is the resolver's to say. kInvalidInput, naming
  // what is wrong with the text and, for an unknown named point, the names there are.
  static Result<PointSpec> parse(std::string_view text);
};

}  // namespace panicroom::kernels
