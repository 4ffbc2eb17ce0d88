#include "hypervisor/qemu/domain_xml.h"

#include <gtest/gtest.h>

#include <pugixml.hpp>

namespace panicroom::qemu {
namespace {

DomainSpec spec() {
  DomainSpec spec;
  spec.name = "m1";
  spec.vcpus = 2;
  spec.memory_bytes = 512U << 20;
  spec.kernel = "/k/vmlinuz <&>\"'";
  spec.initramfs = "/k/init";
  spec.cmdline = "console=ttyS0 quiet=\"a & b\"";
  spec.snapshot_disk = "/d/snapshots.qcow2";
  spec.console_socket = "/s/console";
  spec.agent_socket = "/s/agent";
  spec.gdb_socket = "/s/a,b/gdb";
  return spec;
}

std::string value(const std::string& xml, const char* xpath) {
  pugi::xml_document document;
  EXPECT_TRUE(document.load_string(xml.c_str()));
  return document.select_node(xpath).node().text().as_string();
}
std::string attribute(const std::string& xml, const char* xpath) {
  pugi::xml_document document;
  EXPECT_TRUE(document.load_string(xml.c_str()));
  return document.select_node(xpath).attribute().value();
}

TEST(DomainXml, CarriesTextsWhateverCharactersTheyHave) {
  const auto xml = domain_xml(spec());
  EXPECT_EQ(value(xml, "/domain/os/kernel"), spec().kernel.native());
  EXPECT_EQ(value(xml, "/domain/os/cmdline"), spec().cmdline);
  EXPECT_EQ(value(xml, "/domain/memory"), "536870912");
  // QEMU's own escape for a comma.
  EXPECT_NE(xml.find("unix:/s/a,,b/gdb,server=on,wait=off"), std::string::npos);
}

TEST(DomainXml, PinsOnlyWhenAskedTo) {
  auto pinned = spec();
  EXPECT_EQ(domain_xml(pinned).find("cputune"), std::string::npos);
  pinned.pin = {3, 1};
  const auto xml = domain_xml(pinned);
  EXPECT_EQ(attribute(xml, "/domain/cputune/vcpupin[@vcpu='0']/@cpuset"), "3");
  EXPECT_EQ(attribute(xml, "/domain/cputune/vcpupin[@vcpu='1']/@cpuset"), "1");
}

TEST(DomainXml, TheDiskIsReadAsItIsSaid) {
  auto machine = spec();
  EXPECT_EQ(attribute(domain_xml(machine), "/domain/devices/disk/driver/@io"), "");
  machine.io_uring = true;
  EXPECT_EQ(attribute(domain_xml(machine), "/domain/devices/disk/driver/@io"), "io_uring");
}

TEST(DomainXml, EachAcceleratorHidesWhatItMust) {
  auto machine = spec();
  EXPECT_EQ(attribute(domain_xml(machine), "/domain/@type"), "qemu");
  EXPECT_EQ(attribute(domain_xml(machine), "/domain/cpu/feature[@name='cx16']/@policy"), "disable");
  EXPECT_EQ(attribute(domain_xml(machine), "/domain/cpu/feature[@name='x2apic']/@policy"), "disable");
  machine.accelerator = Accelerator::kKvm;
  EXPECT_EQ(attribute(domain_xml(machine), "/domain/@type"), "kvm");
  EXPECT_EQ(attribute(domain_xml(machine), "/domain/cpu/feature[@name='cx16']/@policy"), "");
  EXPECT_EQ(attribute(domain_xml(machine), "/domain/cpu/feature[@name='x2apic']/@policy"), "disable");
}

TEST(DomainXml, AnEmptyInitramfsOrCommandLineIsLeftOut) {
  auto machine = spec();
  machine.initramfs.clear();
  machine.cmdline.clear();
  const auto xml = domain_xml(machine);
  EXPECT_EQ(xml.find("initrd"), std::string::npos);
  EXPECT_EQ(xml.find("cmdline>"), std::string::npos);
}

}  // namespace
}  // namespace panicroom::qemu
