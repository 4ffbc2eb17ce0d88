#include "harness/director/standstill.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <vector>

namespace panicroom::harness {
namespace {

using hypervisor::Machine;
using hypervisor::Registers;

// Instructions in the longest loop that is recognised: a spinlock's is 3 to 10, one around a failing trylock some 50.
constexpr int kMaxLoop = 256;

struct Instruction {
  ZydisDecodedInstruction what;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
};

std::optional<Instruction> instruction_at(Machine& machine, VcpuId vcpu, std::uint64_t address) {
  std::array<std::byte, ZYDIS_MAX_INSTRUCTION_LENGTH> code{};
  std::size_t readable = code.size();
  while (readable > 0 && !machine.read_memory(vcpu, {address}, std::span(code).first(readable))) --readable;
  ZydisDecoder decoder;
  Instruction found{};
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  if (readable == 0 ||
      !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data(), readable, &found.what, found.operands.data()))) {
    return std::nullopt;
  }
  return found;
}

// Where an unconditional jump to a fixed place goes.
std::optional<std::uint64_t> jump_target(const Instruction& instruction, std::uint64_t address) {
  std::uint64_t target = 0;
  if (instruction.what.mnemonic != ZYDIS_MNEMONIC_JMP || instruction.operands[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE ||
      !ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&instruction.what, instruction.operands.data(), address, &target))) {
    return std::nullopt;
  }
  return target;
}

// A jump to itself, or `pause` and a jump back to it: cpu_relax() for ever. Seen by its code, because no step tells it:
// QEMU steps over PAUSE together with the instruction behind it, and is back where it was.
bool is_empty_loop(Machine& machine, VcpuId vcpu, std::uint64_t rip) {
  const auto here = instruction_at(machine, vcpu, rip);
  if (!here) return false;
  const auto is_pause_at = [&](std::uint64_t address, std::uint64_t end) {
    const auto pause = instruction_at(machine, vcpu, address);
    return pause && pause->what.mnemonic == ZYDIS_MNEMONIC_PAUSE && address + pause->what.length == end;
  };
  if (const auto target = jump_target(*here, rip)) return *target == rip || is_pause_at(*target, rip);
  const std::uint64_t next = rip + here->what.length;
  const auto behind = instruction_at(machine, vcpu, next);
  return behind && jump_target(*behind, next) == rip && is_pause_at(rip, next);
}

// Whether the instruction at RIP leaves memory as it is, if registers and memory are the same at its next pass: so does
// a compare-and-exchange that fails. What is pushed is looked at when it has been.
bool leaves_memory(Machine& machine, VcpuId vcpu, const Registers& registers) {
  const auto found = instruction_at(machine, vcpu, registers.rip);
  if (!found) return false;
  const auto& [instruction, operands] = *found;
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
      return true;
    // The devices' state is not looked at, and these wait for an interrupt or tell the time.
    case ZYDIS_MNEMONIC_IN:
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_WRMSR:
      return false;
    default:
      return std::none_of(operands.begin(), operands.begin() + instruction.operand_count_visible,
                          [](const ZydisDecodedOperand& operand) {
                            return operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
                                   (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
                          });
  }
}

using StackTop = std::array<std::byte, 16>;

// What lies below RSP, where a push or call writes. Nothing if it cannot be read.
std::optional<StackTop> below_stack(Machine& machine, VcpuId vcpu, std::uint64_t rsp) {
  StackTop bytes{};
  if (!machine.read_memory(vcpu, {rsp - bytes.size()}, bytes)) return std::nullopt;
  return bytes;
}

}  // namespace

Result<bool> spins_for_ever(Machine& machine, VcpuId vcpu) {
  // The first instructions may lead into the loop: a state that comes back is looked for from several on.
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto start = TRY(machine.registers(vcpu));
    auto now = start;
    if ((start.rflags & hypervisor::kRflagsIf) == 0 && is_empty_loop(machine, vcpu, start.rip)) return true;
    bool same_memory = true;
    for (int executed = 0; executed < kMaxLoop && same_memory; ++executed) {
      if ((now.rflags & hypervisor::kRflagsIf) != 0) return false;
      if (TRY(machine.has_hit_to_report(vcpu))) return false;
      same_memory = leaves_memory(machine, vcpu, now);
      const auto before = now;
      const auto stack_before = below_stack(machine, vcpu, before.rsp);
      TRY(machine.step(vcpu));
      now = TRY(machine.registers(vcpu));
      // A step that an engine gave up before the instruction looks like a jump to itself, and proves nothing.
      if (now == before) return false;
      // A loop may keep its counter on the stack, and look the same in all registers while it counts: what it pushes
      // must have been there already. In its first pass it may not have been.
      if (now.rsp < before.rsp && (!stack_before || below_stack(machine, vcpu, before.rsp) != stack_before)) {
        start = now;
        continue;
      }
      if (same_memory && now == start) return true;
    }
  }
  return false;
}

Result<Standstill> standstill(Machine& machine) {
  auto found = Standstill::kHalted;
  std::vector<VcpuId> running;
  for (std::uint32_t number = 0; number < machine.vcpus(); ++number) {
    const VcpuId vcpu{number};
    if (machine.held(vcpu)) continue;
    const auto registers = TRY(machine.registers(vcpu));
    if ((registers.rflags & hypervisor::kRflagsIf) != 0) return Standstill::kNone;
    if (!TRY(machine.halted(vcpu))) running.push_back(vcpu);
  }
  // The cheap looks first: stepping takes time, and only here can it tell something.
  for (const VcpuId vcpu : running) {
    if (!TRY(spins_for_ever(machine, vcpu))) return Standstill::kNone;
    found = Standstill::kSpinning;
  }
  return found;
}

}  // namespace panicroom::harness
