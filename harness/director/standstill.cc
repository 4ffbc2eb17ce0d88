#include "harness/director/standstill.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

namespace panicroom::harness {
namespace {

using hypervisor::Machine;
using hypervisor::Registers;

// Instructions in the longest loop that is recognised: a spinlock's is 3 to 10, one around a failing trylock some 50.
constexpr int kMaxLoop = 256;

// Whether the instruction at RIP leaves memory as it is, if registers and memory are the same at its next pass: so does
// a compare-and-exchange that fails. What is pushed is looked at when it has been.
bool leaves_memory(Machine& machine, VcpuId vcpu, const Registers& registers) {
  std::array<std::byte, ZYDIS_MAX_INSTRUCTION_LENGTH> code{};
  std::size_t readable = code.size();
  while (readable > 0 && !machine.read_memory(vcpu, {registers.rip}, std::span(code).first(readable))) --readable;
  ZydisDecoder decoder;
  ZydisDecodedInstruction instruction;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  if (readable == 0 ||
      !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data(), readable, &instruction, operands.data()))) {
    return false;
  }
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

// What lies below RSP, where a push or call writes. Zeros if it cannot be read.
StackTop below_stack(Machine& machine, VcpuId vcpu, std::uint64_t rsp) {
  StackTop bytes{};
  if (!machine.read_memory(vcpu, {rsp - bytes.size()}, bytes)) bytes.fill(std::byte{0});
  return bytes;
}

}  // namespace

Result<bool> spins_for_ever(Machine& machine, VcpuId vcpu) {
  // The first instructions may lead into the loop: a state that comes back is looked for from several on.
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto start = TRY(machine.registers(vcpu));
    auto now = start;
    bool same_memory = true;
    for (int executed = 0; executed < kMaxLoop && same_memory; ++executed) {
      if ((now.rflags & hypervisor::kRflagsIf) != 0) return false;
      same_memory = leaves_memory(machine, vcpu, now);
      const auto before = now;
      const auto stack_before = below_stack(machine, vcpu, before.rsp);
      TRY(machine.step(vcpu));
      now = TRY(machine.registers(vcpu));
      // A step that an engine gave up before the instruction looks like a jump to itself, and proves nothing.
      if (now == before) return false;
      // A loop may keep its counter on the stack, and look the same in all registers while it counts: what it pushes
      // must have been there already. In its first pass it may not have been.
      if (now.rsp < before.rsp && below_stack(machine, vcpu, before.rsp) != stack_before) {
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
