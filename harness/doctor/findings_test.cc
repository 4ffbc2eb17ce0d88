#include "harness/doctor/findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/doctor/guest_loop.h"
#include "harness/doctor/host_facts.h"

namespace panicroom::harness {
namespace {

using testing::HasSubstr;
using testing::Not;

// A host with everything installed.
HostFindings whole_host(double kvm, double tcg) {
  HostFindings findings;
  findings.name = "lab7";
  findings.kernel_release = "6.1.0-1-amd64";
  findings.cpu_model = "Model X";
  findings.cpus = 8;
  findings.memory_bytes = std::uint64_t{16} << 30;
  findings.kvm = {true, true, kvm > 0, kvm, "/dev/kvm runs guest kernel code"};
  findings.kvm_engine = {kvm > 0, "panicroom's own"};
  findings.qemu = {"7.2.22", true, tcg, "qemu-system-x86_64 7.2.22 runs guest kernel code by TCG"};
  findings.qemu_img_version = "7.2.22";
  findings.libvirt = {"9.0.0", true};
  judge(findings);
  return findings;
}

TEST(ChooseEngineTest, HardwareKvmIsTaken) {
  const auto findings = whole_host(2.5e9, 600e6);
  const auto choice = choose_engine(findings);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->engine, "qemu");
  EXPECT_EQ(choice->accelerator, "kvm");
  EXPECT_THAT(choice->reason, HasSubstr("2.5 thousand million"));
  EXPECT_DOUBLE_EQ(findings.engines[0].cpl0_instructions_per_second, 2.5e9);
}

TEST(ChooseEngineTest, KvmThatEmulatesIsNot) {
  const auto findings = whole_host(3.8e6, 600e6);
  const auto choice = choose_engine(findings);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->accelerator, "tcg");
  EXPECT_THAT(choice->reason, HasSubstr("by emulation (3.8 million instructions a second)"));
  EXPECT_DOUBLE_EQ(findings.engines[0].cpl0_instructions_per_second, 600e6);
}

TEST(ChooseEngineTest, TheThresholdAndTcgBothDecide) {
  EXPECT_EQ(choose_engine(whole_host(kHardwareSpeed, 100e6))->accelerator, "kvm");
  EXPECT_EQ(choose_engine(whole_host(kHardwareSpeed - 1, 100e6))->accelerator, "tcg");
  EXPECT_EQ(choose_engine(whole_host(500e6, 600e6))->accelerator, "tcg");
  EXPECT_EQ(choose_engine(whole_host(0, 600e6))->accelerator, "tcg");
}

TEST(ChooseEngineTest, KvmIsEnoughWhereTcgCannotBeMeasured) {
  auto findings = whole_host(2.5e9, 0);
  findings.qemu.ran = false;
  judge(findings);
  EXPECT_EQ(choose_engine(findings)->accelerator, "kvm");
}

TEST(ChooseEngineTest, TheOwnKvmEngineIsForWhoAsksForIt) {
  auto findings = whole_host(2.5e9, 600e6);
  ASSERT_EQ(findings.engines.size(), 2U);
  EXPECT_EQ(findings.engines[1].engine, "kvm");
  EXPECT_TRUE(findings.engines[1].usable);
  EXPECT_THAT(findings.engines[1].finding, HasSubstr("2.5 thousand million"));
  EXPECT_EQ(choose_engine(findings)->engine, "qemu");

  findings.kvm_engine = {false, "this user may not open /dev/kvm"};
  judge(findings);
  EXPECT_FALSE(findings.engines[1].usable);
  EXPECT_EQ(findings.engines[1].finding, "this user may not open /dev/kvm");
}

TEST(ChooseEngineTest, EachMissingPieceNamesItsPackage) {
  const auto complaint = [](auto&& damage) {
    auto findings = whole_host(0, 600e6);
    damage(findings);
    judge(findings);
    const auto choice = choose_engine(findings);
    EXPECT_FALSE(choice);
    if (choice) return std::string();
    EXPECT_EQ(choice.error().kind(), ErrorKind::kHost);
    EXPECT_THAT(render(findings), HasSubstr(choice.error().message()));
    return choice.error().message();
  };
  EXPECT_THAT(complaint([](HostFindings& f) { f.qemu = probe_qemu("/nonexistent/qemu"); }),
              HasSubstr("sudo apt-get install qemu-system-x86"));
  EXPECT_THAT(complaint([](HostFindings& f) { f.qemu_img_version.clear(); }), HasSubstr("qemu-utils"));
  EXPECT_THAT(complaint([](HostFindings& f) { f.libvirt = {}; }), HasSubstr("apt-get install libvirt0"));
  EXPECT_THAT(complaint([](HostFindings& f) { f.libvirt.qemu_driver = false; }),
              HasSubstr("libvirt-daemon-driver-qemu"));
  EXPECT_FALSE(choose_engine(HostFindings()));
}

TEST(RenderTest, SaysWhatIsThereAndWhatAutoDoes) {
  const auto text = render(whole_host(3.8e6, 600e6));
  for (const char* part : {"lab7, kernel 6.1.0-1-amd64", "8 x Model X", "16.0 GiB", "by emulation",
                           "600 million instructions a second", "9.0.0 with its QEMU driver", "qemu       usable",
                           "kvm        usable: panicroom's own; 3.8 million", "auto       qemu with tcg"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr("apt-get")));
  EXPECT_EQ(text.back(), '\n');
}

TEST(RenderTest, NothingKnownIsRenderedToo) {
  EXPECT_THAT(render(HostFindings()), HasSubstr("no engine can run here"));
}

TEST(FillTest, TheReportHasEveryFinding) {
  v1::Host host;
  host.add_engines()->set_engine("stale");
  fill(whole_host(3.8e6, 600e6), host);
  EXPECT_EQ(host.name(), "lab7");
  EXPECT_EQ(host.kernel_release(), "6.1.0-1-amd64");
  EXPECT_EQ(host.cpu_model(), "Model X");
  EXPECT_EQ(host.cpus(), 8U);
  EXPECT_EQ(host.memory_bytes(), std::uint64_t{16} << 30);
  EXPECT_EQ(host.qemu_version(), "7.2.22");
  ASSERT_EQ(host.engines_size(), 2);
  EXPECT_EQ(host.engines(0).engine(), "qemu");
  EXPECT_TRUE(host.engines(0).usable());
  EXPECT_DOUBLE_EQ(host.engines(0).cpl0_instructions_per_second(), 600e6);
  EXPECT_TRUE(host.engines(1).usable());
  EXPECT_DOUBLE_EQ(host.engines(1).cpl0_instructions_per_second(), 3.8e6);
}

TEST(HostFactsTest, Parsing) {
  EXPECT_EQ(cpu_model_in("processor\t: 0\nmodel\t\t: 1\nmodel name\t: A B\nmodel name\t: C\n"), "A B");
  EXPECT_EQ(cpu_model_in("model name"), "");
  EXPECT_EQ(cpu_model_in(""), "");
  EXPECT_EQ(libvirt_version(9'000'000), "9.0.0");
  EXPECT_EQ(libvirt_version(11'003'002), "11.3.2");
  EXPECT_EQ(parse_qemu_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright"), "7.2.22");
  EXPECT_EQ(parse_qemu_version("qemu-img version 10.0.2"), "10.0.2");
  EXPECT_EQ(parse_qemu_version("GNU bash"), "");
}

TEST(KvmProbeTest, NoDeviceIsExplained) {
  const auto probe = probe_kvm("/nonexistent/kvm");
  EXPECT_FALSE(probe.present || probe.opened || probe.ran);
  EXPECT_THAT(probe.finding, HasSubstr("there is no /nonexistent/kvm"));
}

TEST(KvmProbeTest, ADeviceThatIsNotKvmIsExplained) {
  const auto probe = probe_kvm("/dev/null");
  EXPECT_TRUE(probe.present && probe.opened);
  EXPECT_FALSE(probe.ran);
  EXPECT_THAT(probe.finding, HasSubstr("no KVM device"));
}

TEST(KvmProbeTest, ADeviceOfAnotherUserNamesTheGroup) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may open everything";
  const auto probe = probe_kvm("/etc/shadow");
  EXPECT_TRUE(probe.present);
  EXPECT_FALSE(probe.opened);
  EXPECT_THAT(probe.finding, HasSubstr("sudo usermod -aG kvm $USER"));
}

TEST(QemuProbeTest, AProgramThatIsNotQemuIsExplained) {
  const auto probe = probe_qemu("true");
  EXPECT_TRUE(probe.version.empty());
  EXPECT_FALSE(probe.ran);
  EXPECT_THAT(probe.finding, HasSubstr("apt-get install qemu-system-x86"));
}

TEST(GuestRomTest, FillsExactlyTheTopOfFourGigabytes) {
  const auto rom = guest_rom(1);
  EXPECT_EQ(rom.size(), kGuestRomBytes);
  EXPECT_EQ(std::uint64_t{kGuestRomAddress} + rom.size(), std::uint64_t{1} << 32);
}

}  // namespace
}  // namespace panicroom::harness
