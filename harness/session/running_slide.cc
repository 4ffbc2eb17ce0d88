#include "harness/session/running_slide.h"

#include "kernels/image/kaslr.h"

namespace panicroom::harness {
namespace {

// With page-table isolation the kernel can only be read from kernel mode; every workload enters it before long.
constexpr int kMaxStepsToKernelMode = 20'000;

}  // namespace

Result<KaslrSlide> find_running_slide(hypervisor::Machine& machine, const kernels::KernelImage& image) {
  constexpr VcpuId kVcpu{0};
  for (int steps = 0; hypervisor::cpl(TRY(machine.registers(kVcpu))) != 0; ++steps) {
    if (steps == kMaxStepsToKernelMode) return host_error("CPU {} does not enter the kernel", kVcpu);
    TRY(machine.step(kVcpu));
  }
  return kernels::find_kaslr_slide(
      image, [&](Gva at, std::span<std::byte> into) { return machine.read_memory(kVcpu, at, into); });
}

}  // namespace panicroom::harness
