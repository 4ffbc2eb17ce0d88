// Runs a guest until its first instruction has told that it runs: what bench/kvm_ratio.py starts and times.
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "hypervisor/kvm/kvm_machine.h"

namespace panicroom {
namespace {

int fail(const Error& error) {
  std::fprintf(stderr, "kvm_first_instruction: %s\n", error.message().c_str());
  return 3;
}

int first_instruction(const char* guest) {
  hypervisor::MachineConfig config;
  config.name = "first-instruction";
  config.vcpus = 1;
  config.memory_bytes = std::uint64_t{512} << 20;
  config.kernel = guest;
  auto machine = kvm::KvmMachine::create(config);
  if (!machine) return fail(machine.error());
  if (const auto resumed = (*machine)->resume(); !resumed) return fail(resumed.error());
  // Nobody has the port, so what tells is that the vCPU has left the guest.
  while ((*machine)->exits() == 0) std::this_thread::yield();
  const bool told = std::fputc('1', stdout) != EOF && std::fflush(stdout) == 0;
  std::_Exit(told ? 0 : 3);
}

}  // namespace
}  // namespace panicroom

int main(int argc, char** argv) { return argc == 2 ? panicroom::first_instruction(argv[1]) : 2; }
