#include "hypervisor/conformance/conformance.h"

#include <ostream>

#include "hypervisor/qemu/engine_for_test.h"
#ifdef PANICROOM_KVM
#include "hypervisor/kvm/kvm_machine.h"
#endif

namespace panicroom::hypervisor {
namespace {

#ifdef PANICROOM_KVM
Engine kvm_engine() {
  Engine engine;
  engine.name = "kvm";
  engine.create = [](const MachineConfig& config) -> Result<std::unique_ptr<Machine>> {
    return std::unique_ptr<Machine>(TRY(kvm::KvmMachine::create(config)));
  };
  if (const auto usable = kvm::usable(); !usable) engine.absent = usable.error().message();
  return engine;
}
#endif

std::vector<Engine> make_engines() {
  std::vector<Engine> engines;
  engines.push_back(qemu::engine_for_test());
#ifdef PANICROOM_KVM
  engines.push_back(kvm_engine());
#endif
  return engines;
}

}  // namespace

const std::vector<Engine>& engines() {
  static const std::vector<Engine> kEngines = make_engines();
  return kEngines;
}

void Conformance::SetUp() {
  const auto& engine = GetParam();
  if (engine.absent) GTEST_SKIP() << "no engine " << engine.name << " on this host: " << *engine.absent;
}

std::vector<IcrStore> icr_stores(const TestGuest& guest) {
  constexpr std::uint8_t kLength = 7;
  return {{guest.at("icr_nmi"), Gpr::kRdi, kLength},
          {guest.at("icr_physical"), Gpr::kRsi, kLength},
          {guest.at("icr_logical"), Gpr::kRdi, kLength},
          {guest.at("icr_any"), Gpr::kRsi, kLength}};
}

std::ostream& operator<<(std::ostream& out, const Engine& engine) { return out << engine.name; }

}  // namespace panicroom::hypervisor
