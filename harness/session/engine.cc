#include "harness/session/engine.h"

#include "harness/doctor/findings.h"
#include "hypervisor/kvm/kvm_machine.h"
#include "hypervisor/qemu/qemu_machine.h"
#include "hypervisor/qemu/state_directory.h"

namespace panicroom::harness {

Result<> end_leftovers() {
  TRY_CONTEXT("ending what a killed panicroom left behind", qemu::reap_leftovers(qemu::default_state_directory()));
  return {};
}

namespace {

// A boot by KVM's instruction emulator was measured to take forty to seventy times what it takes by QEMU's
// (docs/engine-kvm.md), and the limits that this multiplies are far from what is usual.
constexpr std::uint32_t kEmulatedSlowdown = 40;

Result<Engine> make_kvm_engine() {
  const auto quirks = TRY(kvm::quirks_of_host());
  return Engine{
      .name = quirks.emulates_kernel_code ? "kvm (emulating)" : "kvm",
      .factory = [](const hypervisor::MachineConfig& config) -> Result<std::unique_ptr<hypervisor::Machine>> {
        return std::unique_ptr<hypervisor::Machine>(TRY(kvm::KvmMachine::create(config)));
      },
      .pace = {.slowdown = quirks.emulates_kernel_code ? kEmulatedSlowdown : 1},
  };
}

Result<Engine> make_qemu_engine(const HostFindings& findings) {
  const auto choice = TRY(choose_engine(findings));
  const qemu::QemuOptions options{
      .accelerator = choice.accelerator == "kvm" ? qemu::Accelerator::kKvm : qemu::Accelerator::kTcg,
      .state_directory = qemu::default_state_directory(),
  };
  return Engine{
      .name = fmt::format("{} ({})", choice.engine, choice.accelerator),
      .factory = [options](const hypervisor::MachineConfig& config) -> Result<std::unique_ptr<hypervisor::Machine>> {
        return std::unique_ptr<hypervisor::Machine>(TRY(qemu::QemuMachine::create(config, options)));
      },
  };
}

}  // namespace

Result<Engine> make_engine(const std::string& wanted, v1::Host& host) {
  const auto findings = measure_host();
  fill(findings, host);
  // "auto" and "qemu" are one engine; what is chosen for both words is how it runs the guest's code.
  auto engine = TRY(wanted == "kvm" ? make_kvm_engine() : make_qemu_engine(findings));
  TRY(end_leftovers());
  return engine;
}

}  // namespace panicroom::harness
