#include "hypervisor/qemu/domain_xml.h"

#include <fmt/format.h>

#include <pugixml.hpp>
#include <sstream>

namespace panicroom::qemu {
namespace {

pugi::xml_node add_text(pugi::xml_node parent, const char* name, const std::string& text) {
  auto node = parent.append_child(name);
  node.text().set(text.c_str());
  return node;
}

void set(pugi::xml_node node, const char* attribute, const std::string& value) {
  node.append_attribute(attribute).set_value(value.c_str());
}

// A character device whose other end is a unix socket that QEMU listens on.
pugi::xml_node add_serial(pugi::xml_node devices, const std::filesystem::path& socket) {
  auto serial = devices.append_child("serial");
  set(serial, "type", "unix");
  auto source = serial.append_child("source");
  set(source, "mode", "bind");
  set(source, "path", socket.native());
  return serial;
}

void add_cpu(pugi::xml_node domain, const DomainSpec& spec) {
  auto cpu = domain.append_child("cpu");
  const bool tcg = spec.accelerator == Accelerator::kTcg;
  set(cpu, "mode", tcg ? "maximum" : "host-passthrough");
  set(cpu, "check", "none");
  // One thread a socket: then a vCPU's number is its local APIC's ID.
  auto topology = cpu.append_child("topology");
  set(topology, "sockets", std::to_string(spec.vcpus));
  set(topology, "cores", "1");
  set(topology, "threads", "1");
  // In x2APIC mode the ICR is an MSR, not memory, and so not where the IPI policy looks; TCG has it from QEMU 9.0 on.
  // TCG of QEMU 7.2 makes spurious double faults after cmpxchg16b.
  for (const char* feature : tcg ? std::vector<const char*>{"x2apic", "cx16"} : std::vector<const char*>{"x2apic"}) {
    auto node = cpu.append_child("feature");
    set(node, "policy", "disable");
    set(node, "name", feature);
  }
}

void add_devices(pugi::xml_node domain, const DomainSpec& spec) {
  auto devices = domain.append_child("devices");
  auto disk = devices.append_child("disk");
  set(disk, "type", "file");
  set(disk, "device", "disk");
  auto driver = disk.append_child("driver");
  set(driver, "name", "qemu");
  set(driver, "type", "qcow2");
  set(driver, "cache", "unsafe");  // It need not outlive a crash of the host.
  if (spec.io_uring) set(driver, "io", "io_uring");
  set(disk.append_child("source"), "file", spec.snapshot_disk.native());
  auto disk_target = disk.append_child("target");
  set(disk_target, "dev", "vda");
  set(disk_target, "bus", "virtio");

  auto console_target = add_serial(devices, spec.console_socket).append_child("target");
  set(console_target, "type", "isa-serial");
  set(console_target, "port", "0");

  auto agent = add_serial(devices, spec.agent_socket);
  auto agent_target = agent.append_child("target");
  set(agent_target, "type", "isa-debug");
  set(agent_target, "port", "1");
  set(agent_target.append_child("model"), "name", "isa-debugcon");
  auto agent_address = agent.append_child("address");
  set(agent_address, "type", "isa");
  set(agent_address, "iobase", fmt::format("{:#x}", kAgentPort));

  auto usb = devices.append_child("controller");
  set(usb, "type", "usb");
  set(usb, "model", "none");
  set(devices.append_child("memballoon"), "model", "none");
}

// What libvirt has no element for.
void add_qemu_arguments(pugi::xml_node domain, const DomainSpec& spec) {
  auto commandline = domain.append_child("qemu:commandline");
  const auto argument = [&](const std::string& value) { set(commandline.append_child("qemu:arg"), "value", value); };
  // A comma in a value is doubled (QEMU's manual, "-chardev").
  std::string socket;
  for (const char c : spec.gdb_socket.native()) socket.append(c == ',' ? 2 : 1, c);
  argument("-gdb");
  argument(fmt::format("unix:{},server=on,wait=off", socket));
  if (spec.accelerator == Accelerator::kKvm) {
    // Paravirtual IPIs are hypercalls, which the IPI policy does not see.
    argument("-global");
    argument("host-x86_64-cpu.kvm-pv-ipi=off");
  }

  // The firmware logs to the agent's port as long as reading it gives 0xe9, the debug console's default. Its banner
  // comes before it looks.
  auto device = domain.append_child("qemu:override").append_child("qemu:device");
  set(device, "alias", "serial1");
  auto property = device.append_child("qemu:frontend").append_child("qemu:property");
  set(property, "name", "readback");
  set(property, "type", "unsigned");
  set(property, "value", "0");
}

}  // namespace

std::string domain_xml(const DomainSpec& spec) {
  pugi::xml_document document;
  auto domain = document.append_child("domain");
  set(domain, "type", spec.accelerator == Accelerator::kTcg ? "qemu" : "kvm");
  set(domain, "xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
  add_text(domain, "name", spec.name);
  set(add_text(domain, "memory", std::to_string(spec.memory_bytes)), "unit", "b");
  set(add_text(domain, "vcpu", std::to_string(spec.vcpus)), "placement", "static");
  if (!spec.pin.empty()) {
    auto cputune = domain.append_child("cputune");
    for (std::size_t vcpu = 0; vcpu < spec.pin.size(); ++vcpu) {
      auto pin = cputune.append_child("vcpupin");
      set(pin, "vcpu", std::to_string(vcpu));
      set(pin, "cpuset", std::to_string(spec.pin[vcpu]));
    }
  }

  auto os = domain.append_child("os");
  auto type = add_text(os, "type", "hvm");
  set(type, "arch", "x86_64");
  set(type, "machine", "pc");
  add_text(os, "kernel", spec.kernel.native());
  if (!spec.initramfs.empty()) add_text(os, "initrd", spec.initramfs.native());
  if (!spec.cmdline.empty()) add_text(os, "cmdline", spec.cmdline);

  auto features = domain.append_child("features");
  features.append_child("acpi");
  features.append_child("apic");
  add_cpu(domain, spec);
  set(domain.append_child("clock"), "offset", "utc");

  // A guest that resets or powers itself off must leave QEMU alive, so that a snapshot can be restored: libvirt then
  // resets it, and it stops at the reset vector, where the machine keeps a breakpoint.
  add_text(domain, "on_poweroff", "destroy");
  add_text(domain, "on_reboot", "restart");
  add_text(domain, "on_crash", "preserve");
  add_devices(domain, spec);
  add_qemu_arguments(domain, spec);

  std::ostringstream out;
  document.save(out, "  ");
  return out.str();
}

}  // namespace panicroom::qemu
