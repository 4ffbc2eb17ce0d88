#include "harness/director/injection.h"

#include <Zydis/Zydis.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include "agent/protocol/start_page.h"
#include "agent/vmcore/page_walk.h"

namespace panicroom::harness {
namespace {

using hypervisor::Machine;
using hypervisor::Registers;

Result<Registers> kernel_mode_registers(Machine& machine, VcpuId vcpu) {
  auto registers = TRY(machine.registers(vcpu));
  if (hypervisor::cpl(registers) != 0) {
    return invalid_input("CPU {} is in user mode at {:#x}: name a place in the kernel with `at:`", vcpu, registers.rip);
  }
  return registers;
}

// What a CALL does (SDM Vol. 2A): the return address goes below RSP.
Result<> push(Machine& machine, VcpuId vcpu, Registers& registers, std::uint64_t value) {
  registers.rsp -= sizeof(value);
  return machine.write_memory(vcpu, {registers.rsp}, std::as_bytes(std::span(&value, 1)));
}

}  // namespace

Result<> inject_panic(Machine& machine, VcpuId vcpu, Gva panic, std::string_view message) {
  auto registers = TRY(kernel_mode_registers(machine, vcpu));
  const std::uint64_t return_address = registers.rip;
  // "%s" keeps a percent sign in the message from being taken for a conversion. Both strings lie below RSP: the kernel
  // is built without a red zone, and panic() does not return to a frame that would be above them.
  std::string strings = "%s";
  strings += '\0';
  const std::size_t message_offset = strings.size();
  strings += message;
  strings += '\0';
  registers.rsp = (registers.rsp - strings.size()) & ~std::uint64_t{15};
  registers.rdi = registers.rsp;
  registers.rsi = registers.rsp + message_offset;
  registers.rax = 0;  // No vector registers hold variadic arguments (System V ABI, 3.5.7).
  TRY(machine.write_memory(vcpu, {registers.rdi}, as_bytes(strings)));
  TRY(push(machine, vcpu, registers, return_address));
  registers.rip = panic.value;
  return machine.set_registers(vcpu, registers);
}

Result<> inject_oops(Machine& machine, VcpuId vcpu) {
  auto registers = TRY(kernel_mode_registers(machine, vcpu));
  TRY(push(machine, vcpu, registers, registers.rip));
  registers.rip = 0;
  return machine.set_registers(vcpu, registers);
}

Result<> skip_instruction(Machine& machine, VcpuId vcpu) {
  auto registers = TRY(machine.registers(vcpu));
  // 15 bytes is the longest instruction (SDM Vol. 2A, 2.3.11). Fewer may be mapped: then fewer are looked at.
  std::array<std::byte, ZYDIS_MAX_INSTRUCTION_LENGTH> code{};
  std::size_t readable = code.size();
  while (readable > 0 && !machine.read_memory(vcpu, {registers.rip}, std::span(code).first(readable))) --readable;
  ZydisDecoder decoder;
  ZydisDecodedInstruction instruction;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  if (readable == 0 ||
      !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, code.data(), readable, &instruction))) {
    return host_error("there is no instruction to skip at {:#x} on CPU {}", registers.rip, vcpu);
  }
  registers.rip += instruction.length;
  return machine.set_registers(vcpu, registers);
}

Result<> start_workload(Machine& machine, VcpuId vcpu, Gpa page, std::uint32_t number) {
  agent::StartPage content{};
  if (page.value % vmcore::kPageBytes != 0)
    return host_error("{:#x}, where CPU {} waits, is no page", page.value, vcpu);
  TRY(machine.read_physical(page, std::as_writable_bytes(std::span(&content, 1))));
  if (content.magic != agent::kStartMagic || content.cpu != index(vcpu) || content.number != number ||
      content.waiting != 1 || content.go != 0) {
    return host_error("nobody waits on CPU {} with the page at {:#x}", vcpu, page.value);
  }
  const std::uint64_t go = agent::kStartGo;
  return machine.write_physical({page.value + offsetof(agent::StartPage, go)}, std::as_bytes(std::span(&go, 1)));
}

Result<SpinWindow> SpinWindow::open(Machine& machine, VcpuId vcpu, Gva loop, Interrupts interrupts) {
  auto registers = TRY(kernel_mode_registers(machine, vcpu));
  const SpinWindow window(vcpu, loop, registers);
  registers.rip = loop.value;
  if (interrupts == Interrupts::kOff) registers.rflags &= ~hypervisor::kRflagsIf;
  TRY(machine.set_registers(vcpu, registers));
  return window;
}

Result<bool> SpinWindow::close(Machine& machine) {
  auto registers = TRY(machine.registers(vcpu_));
  if (registers.rip != loop_.value || registers.rsp != rsp_) return false;
  registers.rip = rip_;
  registers.rflags = rflags_;
  TRY(machine.set_registers(vcpu_, registers));
  return true;
}

}  // namespace panicroom::harness
