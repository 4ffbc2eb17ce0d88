#include "harness/session/running_slide.h"

#include "kernels/image/kaslr.h"

namespace panicroom::harness {
namespace {

// Every workload but one enters the kernel before long: `user` does so by interrupts only, and a step lets none in.
constexpr int kMaxStepsToKernelMode = 20'000;

// With page-table isolation the kernel can only be read from kernel mode.
Result<VcpuId> vcpu_in_the_kernel(hypervisor::Machine& machine) {
  for (int steps = 0; steps <= kMaxStepsToKernelMode; ++steps) {
    for (std::uint32_t cpu = 0; cpu < machine.vcpus(); ++cpu) {
      if (hypervisor::cpl(TRY(machine.registers(VcpuId{cpu}))) == 0) return VcpuId{cpu};
    }
    for (std::uint32_t cpu = 0; cpu < machine.vcpus(); ++cpu) TRY(machine.step(VcpuId{cpu}));
  }
  return host_error("no CPU enters the kernel within {} instructions", kMaxStepsToKernelMode);
}

}  // namespace

Result<KaslrSlide> find_running_slide(hypervisor::Machine& machine, const kernels::KernelImage& image) {
  const auto vcpu = TRY(vcpu_in_the_kernel(machine));
  return kernels::find_kaslr_slide(
      image, [&](Gva at, std::span<std::byte> into) { return machine.read_memory(vcpu, at, into); });
}

}  // namespace panicroom::harness
