// Whether QEMU is there, and how fast its translator (TCG) runs guest kernel code.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace panicroom::harness {

struct QemuProbe {
  std::string version;  // "7.2.22"; empty if QEMU is not there.
  bool ran = false;     // The guest loop ran under TCG.
  double cpl0_instructions_per_second = 0;
  std::string finding;  // One sentence; with the command that mends it where there is one.
};

// Takes half a second on an idle host. Speed is counted in QEMU's CPU time, so that a busy host does not make it look
// slow. A QEMU that does not come up within `limit` is killed.
QemuProbe probe_qemu(const std::string& program = "qemu-system-x86_64",
                     std::chrono::milliseconds limit = std::chrono::seconds(5));

// The version in the output of a QEMU program's --version: "7.2.22". Empty if there is none.
std::string parse_qemu_version(std::string_view text);

// The version of a program of QEMU's, by running it with --version. Empty if it cannot be run.
std::string qemu_program_version(const std::string& program);

}  // namespace panicroom::harness
