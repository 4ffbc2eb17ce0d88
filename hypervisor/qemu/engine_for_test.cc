#include "hypervisor/qemu/engine_for_test.h"

#include "base/testing/temporary_directory.h"

namespace panicroom::qemu {
namespace {

// Removed at the program's end, after the connection in it.
const std::filesystem::path& scratch() {
  static const TemporaryDirectory kScratch;
  return kScratch.path();
}

}  // namespace

const std::filesystem::path& test_state_directory() {
  static const std::filesystem::path kPath = scratch() / "state";
  return kPath;
}

hypervisor::Engine engine_for_test(QemuOptions options) {
  hypervisor::Engine engine;
  engine.name = "qemu";
  options.state_directory = test_state_directory();
  engine.create = [options](const hypervisor::MachineConfig& config) -> Result<std::unique_ptr<hypervisor::Machine>> {
    return std::unique_ptr<hypervisor::Machine>(TRY(QemuMachine::create(config, options)));
  };
  engine.processes = [](const hypervisor::Machine& machine) {
    return std::vector<pid_t>{dynamic_cast<const QemuMachine&>(machine).pid()};
  };
  engine.many_restores = 60;
  engine.has_own_devices = false;
  return engine;
}

pid_t process_of(hypervisor::TestGuest& guest) { return dynamic_cast<QemuMachine&>(guest.machine()).pid(); }

}  // namespace panicroom::qemu
