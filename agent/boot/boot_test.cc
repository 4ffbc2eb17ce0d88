// Boots the agent in a real guest, lets the kernel die, and looks at what arrives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "agent/boot/guest.h"
#include "agent/vmcore/judge.h"
#include "agent/vmcore/vmcoreinfo.h"
#include "base/subprocess.h"

namespace panicroom::agent {
namespace {

using v1::Message;

constexpr std::string_view kFirstCommandLine =
    "console=ttyS0 panic=1 cryptomgr.notests unknown_nmi_panic random.trust_cpu=on crashkernel=";
constexpr std::string_view kCaptureCommandLine =
    "console=ttyS0 nr_cpus=1 reset_devices panic=1 cryptomgr.notests random.trust_cpu=on";

class AgentInGuest : public testing::Test {
 protected:
  void SetUp() override {
    const char* kernel = std::getenv("PANICROOM_TEST_KERNEL");
    if (kernel == nullptr || *kernel == '\0') GTEST_SKIP() << "PANICROOM_TEST_KERNEL names no bzImage to boot";
    const auto qemu = run_process({"qemu-system-x86_64", "--version"});
    if (!qemu || qemu->exit_status != 0)
      GTEST_SKIP() << "qemu-system-x86_64 is missing: apt-get install qemu-system-x86";
    options_.kernel = kernel;
    options_.command_line = std::string(kFirstCommandLine) + "128M";
    content_.config.capture_command_line = kCaptureCommandLine;
    auto image = read_file(kernel);
    ASSERT_TRUE(image) << image.error().message();
    kernel_image_ = std::move(*image);
    content_.capture_kernel = kernel_image_;
  }

  Guest boot() {
    auto capture = capture_initramfs({});
    EXPECT_TRUE(capture) << capture.error().message();
    content_.capture_initrd = *capture;
    auto first = first_initramfs(content_);
    EXPECT_TRUE(first) << first.error().message();
    options_.initramfs = std::move(*first);
    auto guest = Guest::start(options_);
    EXPECT_TRUE(guest) << guest.error().message();
    return std::move(*guest);
  }

  void expect_failure(v1::Failed::Stage stage, const std::string& text) {
    Guest guest = boot();
    const auto last = guest.wait_for([](const Message& m) { return m.has_failed() || m.has_armed(); });
    ASSERT_TRUE(last) << guest.console();
    ASSERT_TRUE(last->has_failed()) << "it said that it is armed";
    EXPECT_EQ(last->failed().stage(), stage) << last->failed().text();
    EXPECT_THAT(last->failed().text(), testing::HasSubstr(text));
  }

  GuestOptions options_;
  FirstInitramfs content_;
  std::vector<std::byte> kernel_image_;
};

TEST_F(AgentInGuest, ArmsAndThenJudgesTheDumpOfAPanic) {
  content_.config.workloads = {{VcpuId{0}, find_workload("kmsg")}, {VcpuId{1}, find_workload("syscalls")}};
  Guest guest = boot();

  const auto hello = guest.next();
  ASSERT_TRUE(hello && hello->has_hello()) << guest.console();
  EXPECT_EQ(hello->hello().mode(), v1::MODE_FIRST);
  EXPECT_EQ(hello->hello().online_cpus(), 2u);
  EXPECT_EQ(hello->hello().possible_cpus(), 2u);
  const auto armed = guest.wait_for([](const Message& m) { return m.has_armed() || m.has_failed(); });
  ASSERT_TRUE(armed) << guest.console();
  ASSERT_TRUE(armed->has_armed()) << armed->failed().text();
  EXPECT_EQ(armed->armed().crash_size(), 128u * 1024 * 1024);
  EXPECT_EQ(std::ranges::count_if(guest.messages(), [](const Message& m) { return m.has_workload_ready(); }), 2);

  // Both workloads go on passing their points.
  std::map<std::uint32_t, std::uint64_t> first_passes;
  for (int beats = 0; beats < 3; ++beats) {
    const auto beat = guest.wait_for([](const Message& m) { return m.has_heartbeat(); });
    ASSERT_TRUE(beat) << guest.console();
    ASSERT_EQ(beat->heartbeat().workloads_size(), 2);
    for (const auto& workload : beat->heartbeat().workloads()) {
      EXPECT_FALSE(workload.ended());
      if (beats == 0) first_passes[workload.cpu()] = workload.passes();
      if (beats == 2) {
        EXPECT_GT(workload.passes(), first_passes[workload.cpu()]) << "cpu" << workload.cpu();
      }
    }
  }

  guest.monitor("nmi");
  const auto capture = guest.wait_for([](const Message& m) { return m.has_hello(); });
  ASSERT_TRUE(capture) << guest.console();
  EXPECT_EQ(capture->hello().mode(), v1::MODE_CAPTURE);
  EXPECT_EQ(capture->sequence(), 0u);
  const std::size_t errors_before = guest.errors().size();
  EXPECT_LE(errors_before, 1u) << "only a heartbeat cut by the panic may be lost";

  std::string log;
  std::string info;
  std::vector<v1::Prstatus> prstatus;
  const auto judged = guest.wait_for([&](const Message& m) {
    if (m.has_dead_log()) {
      EXPECT_EQ(m.dead_log().offset(), log.size());
      log += m.dead_log().text();
    }
    if (m.has_vmcoreinfo()) info += m.vmcoreinfo().text();
    if (m.has_prstatus()) prstatus.push_back(m.prstatus());
    if (m.has_check()) {
      EXPECT_TRUE(m.check().ok()) << m.check().name() << ": " << m.check().actual();
    }
    return m.has_judged() || m.has_failed();
  });
  ASSERT_TRUE(judged) << guest.console();
  ASSERT_TRUE(judged->has_judged()) << judged->failed().text();
  EXPECT_EQ(judged->judged().checks_failed(), 0u);
  EXPECT_EQ(judged->judged().checks_passed(), 6u);
  EXPECT_EQ(judged->judged().cpus_expected(), 2u);
  EXPECT_EQ(judged->judged().cpus_with_registers(), 2u);
  EXPECT_THAT(log, testing::HasSubstr("Linux version " + hello->hello().kernel_release()));
  EXPECT_THAT(log, testing::HasSubstr("Kernel panic - not syncing"));
  EXPECT_THAT(log, testing::HasSubstr("panicroom: workload kmsg on cpu0"));
  EXPECT_THAT(guest.console(), testing::HasSubstr("panicroom: workload kmsg on cpu0"));
  EXPECT_EQ(vmcore::Vmcoreinfo(info).value("OSRELEASE"), hello->hello().kernel_release());
  ASSERT_EQ(prstatus.size(), 2u);
  for (const v1::Prstatus& one : prstatus) {
    EXPECT_NE(one.registers().rip(), 0u);
    EXPECT_NE(one.registers().rsp(), 0u);
  }
  EXPECT_EQ(guest.errors().size(), errors_before) << describe(guest.errors().back());
}

TEST_F(AgentInGuest, SaysThatNoCrashMemoryIsReserved) {
  options_.command_line = "console=ttyS0 panic=1";
  expect_failure(v1::Failed::STAGE_CRASH_MEMORY, "crashkernel=");
}

TEST_F(AgentInGuest, SaysThatTheCrashMemoryIsTooSmall) {
  options_.command_line = std::string(kFirstCommandLine) + "8M";
  expect_failure(v1::Failed::STAGE_KEXEC_LOAD, "raise machine.crashkernel");
}

TEST_F(AgentInGuest, SaysThatTheCaptureKernelIsNone) {
  content_.capture_kernel = as_bytes("this is no kernel");
  expect_failure(v1::Failed::STAGE_KEXEC_LOAD, "choose another capture kernel");
}

TEST_F(AgentInGuest, SaysThatAWorkloadsCpuIsNotThere) {
  options_.cpus = 1;
  content_.config.workloads = {{VcpuId{1}, find_workload("idle")}};
  expect_failure(v1::Failed::STAGE_WORKLOAD, "cpu1: that CPU is not online");
}

}  // namespace
}  // namespace panicroom::agent
