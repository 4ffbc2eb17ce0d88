#include "harness/doctor/findings.h"

#include <fmt/format.h>

#include "harness/doctor/host_facts.h"
#include "hypervisor/kvm/kvm_machine.h"

namespace panicroom::harness {
namespace {

constexpr const char* kQemuPackages = "sudo apt-get install qemu-system-x86 qemu-utils";
constexpr const char* kLibvirtPackages = "sudo apt-get install libvirt0 libvirt-daemon libvirt-daemon-driver-qemu";

bool kvm_at_hardware_speed(const HostFindings& findings) {
  return findings.kvm.ran && findings.kvm.cpl0_instructions_per_second >= kHardwareSpeed &&
         findings.kvm.cpl0_instructions_per_second > findings.qemu.cpl0_instructions_per_second;
}

// What KVM is good for here; the sentence's other half is in the probe.
std::string kvm_meaning(const HostFindings& findings) {
  const auto& kvm = findings.kvm;
  if (!kvm.ran) return kvm.finding;
  const auto rate = render_rate(kvm.cpl0_instructions_per_second);
  if (kvm_at_hardware_speed(findings)) return fmt::format("{} at hardware speed ({} a second)", kvm.finding, rate);
  if (kvm.cpl0_instructions_per_second < kHardwareSpeed) {
    return fmt::format("{} by emulation ({} a second): QEMU cannot boot a kernel on that", kvm.finding, rate);
  }
  return fmt::format("{}, but no faster than TCG ({} a second)", kvm.finding, rate);
}

EngineFinding judge_qemu(const HostFindings& findings) {
  EngineFinding engine;
  engine.engine = "qemu";
  engine.finding = findings.qemu.finding;
  if (findings.qemu.version.empty()) return engine;
  if (findings.qemu_img_version.empty()) {
    engine.finding = fmt::format("qemu-img is missing: {}", kQemuPackages);
  } else if (findings.libvirt.version.empty()) {
    engine.finding = fmt::format("libvirt is missing: {}", kLibvirtPackages);
  } else if (!findings.libvirt.qemu_driver) {
    engine.finding = fmt::format("libvirt's QEMU driver is missing: {}", kLibvirtPackages);
  } else if (kvm_at_hardware_speed(findings)) {
    engine.usable = true;
    engine.cpl0_instructions_per_second = findings.kvm.cpl0_instructions_per_second;
    engine.finding = fmt::format("QEMU {} with KVM: {}", findings.qemu.version, kvm_meaning(findings));
  } else if (findings.qemu.ran) {
    engine.usable = true;
    engine.cpl0_instructions_per_second = findings.qemu.cpl0_instructions_per_second;
    engine.finding =
        fmt::format("{} ({} a second)", findings.qemu.finding, render_rate(findings.qemu.cpl0_instructions_per_second));
  }
  return engine;
}

EngineFinding judge_kvm(const HostFindings& findings) {
  EngineFinding engine;
  engine.engine = "kvm";
  engine.cpl0_instructions_per_second = findings.kvm.cpl0_instructions_per_second;
  engine.usable = findings.kvm.ran && findings.kvm_engine.usable;
  engine.finding = findings.kvm_engine.finding;
  if (engine.usable) {
    engine.finding +=
        fmt::format("; {} of guest kernel code a second", render_rate(findings.kvm.cpl0_instructions_per_second));
  }
  return engine;
}

KvmEngineProbe probe_kvm_engine() {
  if (const auto usable = kvm::usable(); !usable) return {false, usable.error().message()};
  const auto quirks = kvm::quirks_of_host();
  if (!quirks) return {false, quirks.error().message()};
  if (!quirks->any()) return {true, "panicroom's own, with nothing of this host's KVM to repair"};
  return {true, fmt::format("panicroom's own, which makes up for what this host's KVM does: {}", quirks->describe())};
}

std::string or_none(const std::string& text, std::string_view otherwise) {
  return text.empty() ? std::string(otherwise) : text;
}

}  // namespace

std::string render_rate(double per_second) {
  if (per_second >= 1e9) return fmt::format("{:.1f} thousand million instructions", per_second / 1e9);
  if (per_second >= 100e6) return fmt::format("{:.0f} million instructions", per_second / 1e6);
  return fmt::format("{:.1f} million instructions", per_second / 1e6);
}

HostFindings measure_host() {
  HostFindings findings;
  read_host_facts(findings);
  findings.kvm = probe_kvm();
  findings.kvm_engine = probe_kvm_engine();
  findings.qemu = probe_qemu();
  judge(findings);
  return findings;
}

void judge(HostFindings& findings) { findings.engines = {judge_qemu(findings), judge_kvm(findings)}; }

Result<EngineChoice> choose_engine(const HostFindings& findings) {
  std::string missing;
  for (const auto& engine : findings.engines) {
    if (engine.engine != "qemu") continue;
    if (!engine.usable) {
      missing = engine.finding;
      continue;
    }
    if (kvm_at_hardware_speed(findings)) {
      return EngineChoice{"qemu", "kvm", kvm_meaning(findings)};
    }
    return EngineChoice{"qemu", "tcg",
                        fmt::format("{}; {} ({} a second)", kvm_meaning(findings), findings.qemu.finding,
                                    render_rate(findings.qemu.cpl0_instructions_per_second))};
  }
  return host_error("no engine can run here: {}", or_none(missing, "nothing was measured"));
}

std::string render(const HostFindings& findings) {
  std::string text;
  const auto line = [&](std::string_view label, const std::string& value) {
    text += fmt::format("{:<10} {}\n", label, value);
  };
  line("host", fmt::format("{}, kernel {}", findings.name, findings.kernel_release));
  line("cpu", fmt::format("{} x {}", findings.cpus, or_none(findings.cpu_model, "unknown model")));
  line("memory", fmt::format("{:.1f} GiB", static_cast<double>(findings.memory_bytes) / (1 << 30)));
  line("kdump", findings.crash_kernel_bytes == 0
                    ? "the host keeps no memory for a capture kernel of its own (guests do not need it)"
                    : fmt::format("the host keeps {} MiB for a capture kernel of its own (guests do not use it)",
                                  findings.crash_kernel_bytes >> 20));
  line("/dev/kvm", kvm_meaning(findings));
  line("tcg", findings.qemu.ran ? fmt::format("{} ({} a second)", findings.qemu.finding,
                                              render_rate(findings.qemu.cpl0_instructions_per_second))
                                : findings.qemu.finding);
  line("qemu-img",
       findings.qemu_img_version.empty() ? fmt::format("missing: {}", kQemuPackages) : findings.qemu_img_version);
  if (findings.libvirt.version.empty()) {
    line("libvirt", fmt::format("missing: {}", kLibvirtPackages));
  } else {
    line("libvirt", fmt::format("{}{}", findings.libvirt.version,
                                findings.libvirt.qemu_driver
                                    ? " with its QEMU driver"
                                    : fmt::format(", but its QEMU driver is missing: {}", kLibvirtPackages)));
  }
  text += "\n";
  for (const auto& engine : findings.engines) {
    line(engine.engine, fmt::format("{}: {}", engine.usable ? "usable" : "not usable", engine.finding));
  }
  const auto choice = choose_engine(findings);
  line("auto", choice ? fmt::format("{} with {}", choice->engine, choice->accelerator) : choice.error().message());
  return text;
}

void fill(const HostFindings& findings, v1::Host& host) {
  host.set_name(findings.name);
  host.set_kernel_release(findings.kernel_release);
  host.set_cpu_model(findings.cpu_model);
  host.set_cpus(findings.cpus);
  host.set_memory_bytes(findings.memory_bytes);
  host.set_qemu_version(findings.qemu.version);
  host.clear_engines();
  for (const auto& finding : findings.engines) {
    auto& engine = *host.add_engines();
    engine.set_engine(finding.engine);
    engine.set_usable(finding.usable);
    engine.set_cpl0_instructions_per_second(finding.cpl0_instructions_per_second);
    engine.set_finding(finding.finding);
  }
}

}  // namespace panicroom::harness
