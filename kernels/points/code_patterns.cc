#include "kernels/points/code_patterns.h"

#include <algorithm>
#include <functional>

namespace panicroom::kernels {
namespace {

bool goes_to(const Instruction& instruction, const Addresses& targets) {
  return instruction.target && targets.contains(*instruction.target);
}

bool is_call(const Instruction& i) { return i.mnemonic == ZYDIS_MNEMONIC_CALL; }
bool is_jump(const Instruction& i) { return i.mnemonic == ZYDIS_MNEMONIC_JMP; }

// The instruction behind code[n], unless code[n] is the last of its stretch.
const Instruction* next(Code code, std::size_t n) {
  return n + 1 < code.size() && code[n].end() == code[n + 1].at ? &code[n + 1] : nullptr;
}

Places places_if(Code code, const std::function<bool(const Instruction&)>& wanted) {
  Places out;
  for (const auto& instruction : code) {
    if (wanted(instruction)) out.push_back(instruction.at);
  }
  return out;
}

bool writes_rdi(const Instruction& i) {
  return i.destination == ZYDIS_REGISTER_RDI || i.destination == ZYDIS_REGISTER_EDI;
}

// Whether RDI holds `value` before code[n], as the straight line before it tells.
bool rdi_is(Code code, std::size_t n, LinkAddress value) {
  for (std::size_t i = n; i-- > 0;) {
    const Instruction& instruction = code[i];
    if (instruction.end() != code[i + 1].at || instruction.target) return false;
    if (!writes_rdi(instruction)) continue;
    if (instruction.mnemonic == ZYDIS_MNEMONIC_MOV) return instruction.immediate == value.value;
    return instruction.mnemonic == ZYDIS_MNEMONIC_LEA && instruction.memory == value;
  }
  return false;
}

}  // namespace

Places after_exchange(Code code, LinkAddress variable) {
  Places out;
  for (std::size_t n = 0; n < code.size(); ++n) {
    const Instruction& i = code[n];
    if (i.mnemonic != ZYDIS_MNEMONIC_CMPXCHG || !i.lock || i.operand_bits != 32 || i.memory != variable) continue;
    if (const Instruction* behind = next(code, n)) out.push_back(behind->at);
  }
  return out;
}

Places calls(Code code, const Addresses& callees) {
  return places_if(code, [&](const Instruction& i) {
    if (!goes_to(i, callees)) return false;
    return is_call(i) || (is_jump(i) && *i.target != code.front().at);
  });
}

Places after_call(Code code, const Addresses& callees) {
  Places out;
  for (std::size_t n = 0; n < code.size(); ++n) {
    if (!is_call(code[n]) || !goes_to(code[n], callees)) continue;
    if (const Instruction* behind = next(code, n)) out.push_back(behind->at);
  }
  return out;
}

Places after_call_with_argument(Code code, const Addresses& callees, LinkAddress argument) {
  Places out;
  for (std::size_t n = 0; n < code.size(); ++n) {
    if (!is_call(code[n]) || !goes_to(code[n], callees) || !rdi_is(code, n, argument)) continue;
    if (const Instruction* behind = next(code, n)) out.push_back(behind->at);
  }
  return out;
}

Places returns(Code code, const Addresses& thunks) {
  return places_if(code, [&](const Instruction& i) {
    return i.mnemonic == ZYDIS_MNEMONIC_RET || (is_jump(i) && goes_to(i, thunks));
  });
}

Places conditional_returns(Code code, const Addresses& thunks) {
  return places_if(code, [&](const Instruction& i) { return !is_jump(i) && !is_call(i) && goes_to(i, thunks); });
}

Places indirect_calls_behind_gs_load(Code code, const Addresses& thunks) {
  Places out;
  bool loaded = false;
  for (const auto& i : code) {
    if (i.mnemonic == ZYDIS_MNEMONIC_MOV && i.destination == ZYDIS_REGISTER_GS) loaded = true;
    if (!loaded || !is_call(i)) continue;
    if (goes_to(i, thunks) || i.destination != ZYDIS_REGISTER_NONE) out.push_back(i.at);
  }
  return out;
}

Places pause_loops(Code code) {
  Places out;
  for (std::size_t n = 0; n < code.size(); ++n) {
    if (code[n].mnemonic != ZYDIS_MNEMONIC_PAUSE) continue;
    const Instruction* behind = next(code, n);
    if (behind != nullptr && is_jump(*behind) && behind->target == code[n].at) out.push_back(code[n].at);
  }
  return out;
}

bool is_jump_target(Code code, LinkAddress place) {
  return std::any_of(code.begin(), code.end(), [&](const Instruction& i) { return !is_call(i) && i.target == place; });
}

std::set<LinkAddress> displacements(Code code) {
  std::set<LinkAddress> out;
  for (const auto& i : code) {
    if (i.mnemonic != ZYDIS_MNEMONIC_MOV || i.operand_bits != 32 || !i.displacement) continue;
    out.insert(LinkAddress{static_cast<std::uint64_t>(*i.displacement)});
  }
  return out;
}

std::vector<IcrStoreInstruction> icr_stores_in(Code code, LinkAddress icr) {
  std::vector<IcrStoreInstruction> out;
  for (const auto& i : code) {
    if (i.mnemonic != ZYDIS_MNEMONIC_MOV || i.memory != icr || i.operand_bits != 32) continue;
    if (ZydisRegisterGetClass(i.source) != ZYDIS_REGCLASS_GPR32) continue;
    // Zydis numbers the registers of a class as encodings do, and so does Gpr.
    const auto number = static_cast<std::uint8_t>(ZydisRegisterGetId(i.source));
    out.push_back({i.at, static_cast<hypervisor::Gpr>(number), i.length});
  }
  return out;
}

}  // namespace panicroom::kernels
