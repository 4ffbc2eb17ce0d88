#include "harness/observer/places.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "harness/observer/unwind.h"
#include "kernels/image/kaslr.h"
#include "kernels/image/orc.h"

namespace panicroom::harness {
namespace {

using hypervisor::Machine;

constexpr std::size_t kMaxFrames = 24;
constexpr std::size_t kStackBytes = 2048;

// Every word of the stack that may be a return address. Frames that are gone show up too: a guess, and named so in the
// report's schema.
void scan_stack(Machine& machine, VcpuId vcpu, Gva stack, const RunningKernel& kernel, v1::CpuPlace& place) {
  std::array<std::byte, 8> word{};
  for (std::size_t offset = 0; offset < kStackBytes; offset += word.size()) {
    if (place.backtrace_size() == static_cast<int>(kMaxFrames)) return;
    if (!machine.read_memory(vcpu, stack + offset, word)) return;
    std::uint64_t value = 0;
    std::memcpy(&value, word.data(), word.size());
    if (!kernel.follows_call({value})) continue;
    if (const auto name = kernel.symbolise({value})) place.add_backtrace(*name);
  }
}

// By the kernel's own tables; if they are not there or lead nowhere, by guess.
void trace(Machine& machine, VcpuId vcpu, const hypervisor::Registers& registers, const RunningKernel& kernel,
           v1::CpuPlace& place) {
  const auto any_function = kernel.image().symbols().unique("panic");
  const auto table = any_function ? kernels::OrcTable::find(kernel.image().elf(), any_function->address)
                                  : Result<kernels::OrcTable>(any_function.error());
  if (table) {
    const auto found = unwind(
        *table, kernel, registers,
        [&](Gva at, std::span<std::byte> into) { return machine.read_memory(vcpu, at, into); }, kMaxFrames);
    for (const Gva caller : found.callers) {
      place.add_backtrace(kernel.symbolise(caller).value_or(fmt::format("{:#x}", caller.value)));
    }
    if (found.complete || !found.callers.empty()) return;
  }
  scan_stack(machine, vcpu, {registers.rsp}, kernel, place);
}

// An NMI handler ends with IRET, and until then the CPU takes no other NMI (SDM Vol. 3A, 6.7.1).
bool in_nmi_handler(const v1::CpuPlace& place) {
  const auto is_entry = [](const std::string& function) {
    return std::ranges::any_of(std::array{"exc_nmi+", "asm_exc_nmi+", "end_repeat_nmi+", "fred_exc_nmi+"},
                               [&](const char* name) { return function.starts_with(name); });
  };
  return is_entry(place.place()) || std::ranges::any_of(place.backtrace(), is_entry);
}

std::optional<RunningKernel> find_capture(Machine& machine, VcpuId vcpu, const kernels::KernelImage& capture) {
  const auto slide = kernels::find_kaslr_slide(
      capture, [&](Gva at, std::span<std::byte> into) { return machine.read_memory(vcpu, at, into); });
  if (!slide) return std::nullopt;
  return RunningKernel(capture, *slide);
}

}  // namespace

std::vector<v1::CpuPlace> places(Machine& machine, const RunningKernel& first, const kernels::KernelImage& capture,
                                 std::optional<VcpuId> jumped) {
  std::vector<v1::CpuPlace> result;
  for (std::uint32_t number = 0; number < machine.vcpus(); ++number) {
    const VcpuId vcpu{number};
    v1::CpuPlace place;
    place.set_cpu(number);
    place.set_where("unknown");
    const auto registers = machine.registers(vcpu);
    if (!registers) {
      place.set_place(registers.error().message());
      result.push_back(std::move(place));
      continue;
    }
    place.set_rip(registers->rip);
    place.set_interrupts_enabled((registers->rflags & hypervisor::kRflagsIf) != 0);
    place.set_halted(machine.halted(vcpu).value_or(false));
    place.set_place(fmt::format("{:#x}", registers->rip));
    std::optional<RunningKernel> kernel;
    if (jumped == vcpu) kernel = find_capture(machine, vcpu, capture);
    if (kernel && kernel->in_text({registers->rip})) {
      place.set_where("capture");
    } else if (first.in_text({registers->rip})) {
      place.set_where("first");
      kernel = first;
    } else if (hypervisor::cpl(*registers) == 3) {
      place.set_where("user");
    } else {
      kernel.reset();
    }
    if (kernel && place.where() != "user") {
      place.set_place(kernel->symbolise({registers->rip}).value_or(place.place()));
      trace(machine, vcpu, *registers, *kernel, place);
      place.set_nmis_blocked(in_nmi_handler(place));
    }
    result.push_back(std::move(place));
  }
  return result;
}

}  // namespace panicroom::harness
