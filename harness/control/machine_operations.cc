#include "harness/control/machine_operations.h"

#include <google/protobuf/descriptor.h>

#include <array>
#include <limits>
#include <span>
#include <string>

#include "harness/control/words.h"
#include "harness/scenario/diagnostic.h"

namespace panicroom::control {
namespace {

using hypervisor::Machine;
using hypervisor::Registers;

struct RegisterField {
  int number;  // In VcpuRegisters.
  std::uint64_t Registers::*member;
};
constexpr std::array kRegisters = {
    RegisterField{v1::VcpuRegisters::kRaxFieldNumber, &Registers::rax},
    RegisterField{v1::VcpuRegisters::kRbxFieldNumber, &Registers::rbx},
    RegisterField{v1::VcpuRegisters::kRcxFieldNumber, &Registers::rcx},
    RegisterField{v1::VcpuRegisters::kRdxFieldNumber, &Registers::rdx},
    RegisterField{v1::VcpuRegisters::kRsiFieldNumber, &Registers::rsi},
    RegisterField{v1::VcpuRegisters::kRdiFieldNumber, &Registers::rdi},
    RegisterField{v1::VcpuRegisters::kRbpFieldNumber, &Registers::rbp},
    RegisterField{v1::VcpuRegisters::kRspFieldNumber, &Registers::rsp},
    RegisterField{v1::VcpuRegisters::kR8FieldNumber, &Registers::r8},
    RegisterField{v1::VcpuRegisters::kR9FieldNumber, &Registers::r9},
    RegisterField{v1::VcpuRegisters::kR10FieldNumber, &Registers::r10},
    RegisterField{v1::VcpuRegisters::kR11FieldNumber, &Registers::r11},
    RegisterField{v1::VcpuRegisters::kR12FieldNumber, &Registers::r12},
    RegisterField{v1::VcpuRegisters::kR13FieldNumber, &Registers::r13},
    RegisterField{v1::VcpuRegisters::kR14FieldNumber, &Registers::r14},
    RegisterField{v1::VcpuRegisters::kR15FieldNumber, &Registers::r15},
    RegisterField{v1::VcpuRegisters::kRipFieldNumber, &Registers::rip},
    RegisterField{v1::VcpuRegisters::kRflagsFieldNumber, &Registers::rflags},
    RegisterField{v1::VcpuRegisters::kCsFieldNumber, &Registers::cs},
    RegisterField{v1::VcpuRegisters::kSsFieldNumber, &Registers::ss},
    RegisterField{v1::VcpuRegisters::kDsFieldNumber, &Registers::ds},
    RegisterField{v1::VcpuRegisters::kEsFieldNumber, &Registers::es},
    RegisterField{v1::VcpuRegisters::kFsFieldNumber, &Registers::fs},
    RegisterField{v1::VcpuRegisters::kGsFieldNumber, &Registers::gs},
    RegisterField{v1::VcpuRegisters::kFsBaseFieldNumber, &Registers::fs_base},
    RegisterField{v1::VcpuRegisters::kGsBaseFieldNumber, &Registers::gs_base},
    RegisterField{v1::VcpuRegisters::kKernelGsBaseFieldNumber, &Registers::kernel_gs_base},
    RegisterField{v1::VcpuRegisters::kCr0FieldNumber, &Registers::cr0},
    RegisterField{v1::VcpuRegisters::kCr2FieldNumber, &Registers::cr2},
    RegisterField{v1::VcpuRegisters::kCr3FieldNumber, &Registers::cr3},
    RegisterField{v1::VcpuRegisters::kCr4FieldNumber, &Registers::cr4},
    RegisterField{v1::VcpuRegisters::kCr8FieldNumber, &Registers::cr8},
    RegisterField{v1::VcpuRegisters::kEferFieldNumber, &Registers::efer},
};

struct Span {
  bool physical = false;
  std::uint64_t first = 0;
  VcpuId vcpu{};  // Through whose page tables, if not physical.
};

Result<Span> span_of(const Machine& machine, const v1::GuestAddress& at, std::size_t length) {
  if (length == 0 || length > kMaxMemoryBytes) {
    return invalid_input("{} bytes of memory; it goes from 1 to {}", length, kMaxMemoryBytes);
  }
  Span span;
  switch (at.space_case()) {
    case v1::GuestAddress::kVirtualAddress:
      span.vcpu = TRY(read_cpu(at.virtual_address().cpu(), machine.vcpus()));
      span.first = at.virtual_address().address();
      break;
    case v1::GuestAddress::kPhysicalAddress:
      span.physical = true;
      span.first = at.physical_address();
      break;
    case v1::GuestAddress::SPACE_NOT_SET:
      return invalid_input("there is no address");
  }
  if (span.first > std::numeric_limits<std::uint64_t>::max() - (length - 1)) {
    return invalid_input("{} bytes at {:#x} go beyond the end of the address space", length, span.first);
  }
  return span;
}

}  // namespace

v1::VcpuRegisters to_proto(const Registers& registers) {
  v1::VcpuRegisters values;
  const auto* descriptor = v1::VcpuRegisters::descriptor();
  const auto* reflection = v1::VcpuRegisters::GetReflection();
  for (const auto& [number, member] : kRegisters) {
    reflection->SetUInt64(&values, descriptor->FindFieldByNumber(number), registers.*member);
  }
  return values;
}

void apply(const v1::VcpuRegisters& values, Registers& registers) {
  const auto* descriptor = v1::VcpuRegisters::descriptor();
  const auto* reflection = v1::VcpuRegisters::GetReflection();
  for (const auto& [number, member] : kRegisters) {
    const auto* field = descriptor->FindFieldByNumber(number);
    if (reflection->HasField(values, field)) registers.*member = reflection->GetUInt64(values, field);
  }
}

Result<v1::VcpuRegisters> read_registers(Machine& machine, const v1::ReadRegistersOperation& operation) {
  const auto vcpu = TRY(read_cpu(operation.cpu(), machine.vcpus()));
  return to_proto(TRY(machine.registers(vcpu)));
}

Result<> write_registers(Machine& machine, const v1::WriteRegistersOperation& operation) {
  const auto vcpu = TRY(read_cpu(operation.cpu(), machine.vcpus()));
  auto registers = TRY(machine.registers(vcpu));
  apply(operation.registers(), registers);
  return machine.set_registers(vcpu, registers);
}

Result<v1::ReadMemoryResult> read_memory(Machine& machine, const v1::ReadMemoryOperation& operation) {
  const auto span = TRY(span_of(machine, operation.at(), operation.length()));
  v1::ReadMemoryResult result;
  auto& data = *result.mutable_data();
  data.resize(operation.length());
  const auto into = std::as_writable_bytes(std::span(data));
  if (span.physical) {
    TRY(machine.read_physical(Gpa{span.first}, into));
  } else {
    TRY(machine.read_memory(span.vcpu, Gva{span.first}, into));
  }
  return result;
}

Result<> write_memory(Machine& machine, const v1::WriteMemoryOperation& operation) {
  const auto span = TRY(span_of(machine, operation.at(), operation.data().size()));
  const auto bytes = std::as_bytes(std::span(operation.data()));
  return span.physical ? machine.write_physical(Gpa{span.first}, bytes)
                       : machine.write_memory(span.vcpu, Gva{span.first}, bytes);
}

Result<v1::LookUpSymbolResult> look_up_symbol(const harness::RunningKernel& kernel,
                                              const v1::LookUpSymbolOperation& operation) {
  const auto& symbols = kernel.image().symbols();
  kernels::SymbolOffset found;
  switch (operation.what_case()) {
    case v1::LookUpSymbolOperation::kName:
      if (operation.name().size() > 512) return invalid_input("no symbol has so long a name");
      if (symbols.find(operation.name()).empty()) {
        return unsupported("the kernel has no symbol {}", harness::shown(operation.name()));
      }
      found.symbol = TRY(symbols.unique(operation.name()));
      break;
    case v1::LookUpSymbolOperation::kAddress: {
      const auto containing = symbols.containing(unslide(Gva{operation.address()}, kernel.slide()));
      if (!containing) return unsupported("the kernel has no symbol at {:#x}", operation.address());
      found = *containing;
      break;
    }
    case v1::LookUpSymbolOperation::WHAT_NOT_SET:
      return invalid_input("there is neither a name nor an address");
  }
  v1::LookUpSymbolResult result;
  result.set_name(std::string(found.symbol.name));
  result.set_address(kernel.running(found.symbol.address).value);
  result.set_offset(found.offset);
  result.set_text(found.symbol.text);
  return result;
}

}  // namespace panicroom::control
