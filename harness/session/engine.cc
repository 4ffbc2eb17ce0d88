#include "harness/session/engine.h"

#include "harness/doctor/findings.h"
#include "hypervisor/qemu/qemu_machine.h"
#include "hypervisor/qemu/state_directory.h"

namespace panicroom::harness {

Result<> end_leftovers() {
  TRY_CONTEXT("ending what a killed panicroom left behind", qemu::reap_leftovers(qemu::default_state_directory()));
  return {};
}

Result<Engine> make_engine(const std::string& wanted, v1::Host& host) {
  if (wanted == "kvm") {
    return unsupported("this build has no engine \"kvm\" yet; --engine qemu uses /dev/kvm where that is fast");
  }
  const auto findings = measure_host();
  fill(findings, host);
  // There is one engine to choose from; what is chosen for both words is how it runs the guest's code.
  const auto choice = TRY(choose_engine(findings));
  const auto state = qemu::default_state_directory();
  TRY(end_leftovers());
  const qemu::QemuOptions options{
      .accelerator = choice.accelerator == "kvm" ? qemu::Accelerator::kKvm : qemu::Accelerator::kTcg,
      .state_directory = state,
  };
  return Engine{
      .name = fmt::format("{} ({})", choice.engine, choice.accelerator),
      .factory = [options](const hypervisor::MachineConfig& config) -> Result<std::unique_ptr<hypervisor::Machine>> {
        return std::unique_ptr<hypervisor::Machine>(TRY(qemu::QemuMachine::create(config, options)));
      },
  };
}

}  // namespace panicroom::harness
