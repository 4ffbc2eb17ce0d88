// Measures what /dev/kvm does with guest kernel code: hardware runs it as it is, some nested hypervisors emulate it
// instruction by instruction, a thousand times slower. Only a measurement tells them apart.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

namespace panicroom::harness {

struct KvmProbe {
  bool present = false;  // The device is there.
  bool opened = false;   // This user may use it.
  bool ran = false;      // The guest loop ran.
  double cpl0_instructions_per_second = 0;
  std::string finding;  // One sentence; with the command that mends it where there is one.
};

// Takes a tenth of a second, at most `limit` where KVM never returns. Speed is counted in this thread's CPU time, so
// that a busy host does not make KVM look slow. Uses the signal SIGRTMAX-2 for that time. Creates and destroys one VM
// with one vCPU; nothing of the host is changed.
KvmProbe probe_kvm(const std::filesystem::path& device = "/dev/kvm",
                   std::chrono::milliseconds limit = std::chrono::seconds(2));

}  // namespace panicroom::harness
