// What this host can do, measured: the base of `panicroom doctor`, of `--engine auto`, and of the report's Host.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "harness/doctor/kvm_probe.h"
#include "harness/doctor/qemu_probe.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// What of libvirt is there: the library, and its driver that starts QEMU inside the process.
struct LibvirtProbe {
  std::string version;  // "9.0.0"; empty if the library cannot be loaded.
  bool qemu_driver = false;
};

// What panicroom's own engine on /dev/kvm would do here.
struct KvmEngineProbe {
  bool usable = false;
  std::string finding;  // One sentence: what is to be repaired here, or why it cannot be used.
};

// An engine as `--engine` names it.
struct EngineFinding {
  std::string engine;  // "qemu", "kvm".
  bool usable = false;
  double cpl0_instructions_per_second = 0;  // Of guest kernel code, the way `auto` would run it; 0 if not measured.
  std::string finding;                      // One sentence; with the command that mends it where there is one.
};

struct HostFindings {
  std::string name;            // uname -n
  std::string kernel_release;  // uname -r
  std::string cpu_model;
  std::uint32_t cpus = 0;  // Online logical CPUs.
  std::uint64_t memory_bytes = 0;
  // What the host's own kernel keeps for a capture kernel. Guests have their own: for people, who ask.
  std::uint64_t crash_kernel_bytes = 0;

  KvmProbe kvm;
  KvmEngineProbe kvm_engine;
  QemuProbe qemu;
  std::string qemu_img_version;  // Empty if it is not there.
  LibvirtProbe libvirt;

  std::vector<EngineFinding> engines;  // judge() fills it from the above.
};

// The instructions per second from which on guest kernel code counts as run by the CPU itself. Hardware runs the loop
// at a thousand million and more even on old CPUs; hypervisors that emulate guest kernel code were measured below ten
// million. In between there is nothing known, and room for a loaded host.
inline constexpr double kHardwareSpeed = 200e6;

// Measures. Takes about a second, and is bounded where a hypervisor or QEMU hangs. Not to be called by two threads at
// once (see probe_kvm()). Never fails: what is missing is a finding.
HostFindings measure_host();

// From the probes to findings.engines. measure_host() has done it already.
void judge(HostFindings& findings);

struct EngineChoice {
  std::string engine;       // "qemu"
  std::string accelerator;  // "tcg" or "kvm"
  std::string reason;       // One sentence, with figures.
};

// For `--engine auto`: QEMU with KVM where that runs guest kernel code at hardware speed and faster than TCG does, else
// QEMU with TCG. Never the engine kvm, which has machine checks missing, and has to be asked for. kHost, with the
// command that mends it, if no engine is usable.
Result<EngineChoice> choose_engine(const HostFindings& findings);

// For people, many lines, the last one ended: what `panicroom doctor` prints.
std::string render(const HostFindings& findings);

// "3.8 million", "2.5 thousand million": instructions per second for people.
std::string render_rate(double per_second);

void fill(const HostFindings& findings, v1::Host& host);

}  // namespace panicroom::harness
