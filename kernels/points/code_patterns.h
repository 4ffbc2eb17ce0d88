// What points are recognised by: patterns in the instructions of one function. Pure functions over decoded code.
//
// `code` is one function in the order of its addresses, or several stretches of it (the body and what the compiler
// split off); two instructions follow each other only if no bytes lie between them. What is found is in the order of
// `code`.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/address.h"
#include "hypervisor/registers.h"
#include "kernels/points/disassembly.h"

namespace panicroom::kernels {

using Code = std::span<const Instruction>;
using Places = std::vector<LinkAddress>;
using Addresses = std::set<LinkAddress>;

// The instructions behind each `lock cmpxchg` of a 32-bit variable: ZF tells who won it.
Places after_exchange(Code code, LinkAddress variable);

// Direct calls and unconditional direct jumps to one of `callees`. A jump to the function's own first instruction is a
// loop, not a call.
Places calls(Code code, const Addresses& callees);

// The instructions behind each call of one of `callees`.
Places after_call(Code code, const Addresses& callees);

// The instructions behind each call of one of `callees` whose first argument (RDI) is set to the constant `argument`
// in the straight line before it.
Places after_call_with_argument(Code code, const Addresses& callees, LinkAddress argument);

// `ret`, and jumps to one of `thunks`, which the kernel patches to `ret` where the CPU allows it.
Places returns(Code code, const Addresses& thunks);
// Conditional jumps to one of `thunks`: returns that do not always return.
Places conditional_returns(Code code, const Addresses& thunks);

// Calls of a function whose address is in a register, by themselves or through one of `thunks`, behind an instruction
// that loads GS: a kernel gives up its segments only on its way out.
Places indirect_calls_behind_gs_load(Code code, const Addresses& thunks);

// `pause` with a jump back to it, and nothing else: the address of `pause`.
Places pause_loops(Code code);

// Whether a direct jump from elsewhere in `code` goes to `place`, so that it is not only reached from the instruction
// before it.
bool is_jump_target(Code code, LinkAddress place);

// The displacements of the 32-bit `mov`s from and to memory at [register + displacement]: for a function that is given
// a device register's offset, the address that the device's registers are mapped at.
std::set<LinkAddress> displacements(Code code);

// The offset of the interrupt command register's low half among the xAPIC's registers (Intel SDM Vol. 3A, table 11-1).
inline constexpr std::uint64_t kIcrLowOffset = 0x300;

struct IcrStoreInstruction {
  LinkAddress at;
  hypervisor::Gpr value;
  std::uint8_t length;
};
// `mov [icr], r32`, where `icr` is the address of the ICR's low half.
std::vector<IcrStoreInstruction> icr_stores_in(Code code, LinkAddress icr);

}  // namespace panicroom::kernels
