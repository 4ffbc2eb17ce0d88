#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/temporary_directory.h"
#include "hypervisor/conformance/machine_assertions.h"
#include "hypervisor/qemu/engine_for_test.h"

namespace panicroom::qemu {
namespace {

using namespace std::chrono_literals;
using hypervisor::Clock;
using hypervisor::Event;
using hypervisor::GuestReset;
using hypervisor::Paused;
using ::testing::HasSubstr;

constexpr VcpuId k0{0};

TEST(QemuMachineConfig, WhatCannotBeIsRefusedByName) {
  hypervisor::MachineConfig config;
  config.name = "bad";
  config.memory_bytes = 64U << 20;
  config.kernel = PANICROOM_TEST_GUEST;
  config.directory = test_state_directory();
  QemuOptions options;
  options.state_directory = test_state_directory();
  const auto refusal = [&](auto change) {
    auto changed = config;
    change(changed);
    auto made = QemuMachine::create(changed, options);
    EXPECT_FALSE(made);
    return made ? std::string() : made.error().message();
  };
  EXPECT_THAT(refusal([](auto& c) { c.vcpus = 0; }), HasSubstr("0 vCPUs"));
  EXPECT_THAT(refusal([](auto& c) { c.memory_bytes = 1000; }), HasSubstr("1000 bytes"));
  EXPECT_THAT(refusal([](auto& c) { c.kernel = "/no/such/kernel"; }), HasSubstr("/no/such/kernel"));
  EXPECT_THAT(refusal([](auto& c) { c.pin = {0, 1, 2}; }), HasSubstr("pin"));
  EXPECT_THAT(refusal([](auto& c) { c.directory = "/no/such/directory"; }), HasSubstr("/no/such/directory"));
}

// A real kernel, to its panic for want of a root file system and the reboot that follows.
TEST(QemuMachineKernel, BootsPanicsAndResetsAndComesBackFromASnapshot) {
  const char* kernel = std::getenv("PANICROOM_TEST_KERNEL");
  if (kernel == nullptr) GTEST_SKIP() << "PANICROOM_TEST_KERNEL does not name a bzImage";
  const TemporaryDirectory directory;
  hypervisor::MachineConfig config;
  config.name = "kernel";
  config.vcpus = 2;
  config.memory_bytes = 512U << 20;
  config.kernel = kernel;
  config.cmdline = "console=ttyS0 panic=-1";
  config.directory = directory.path();
  QemuOptions options;
  options.state_directory = test_state_directory();
  auto made = QemuMachine::create(config, options);
  ASSERT_OK(made);
  auto& machine = **made;
  std::string console;
  const auto run = [&](const std::function<bool()>& until) -> Event {
    EXPECT_TRUE(machine.resume());
    for (const auto deadline = Clock::now() + 240s;;) {
      auto event = machine.next_event(deadline);
      const auto* output = std::get_if<hypervisor::Output>(&event);
      if (output == nullptr) return event;
      if (output->stream != hypervisor::Stream::kConsole) continue;
      console += output->bytes;
      if (until()) {
        EXPECT_TRUE(machine.pause());
      }
    }
  };
  auto event = run([&] { return console.find("Linux version") != std::string::npos; });
  ASSERT_EVENT(Paused, event);
  ASSERT_OK(machine.snapshot("early"));
  const auto registers = machine.registers(k0);
  for (int trial = 0; trial < 2; ++trial) {
    console.clear();
    event = run([] { return false; });
    ASSERT_EVENT(GuestReset, event);
    EXPECT_THAT(console, HasSubstr("Kernel panic - not syncing: VFS"));
    EXPECT_THAT(console, HasSubstr("Brought up 1 node, 2 CPUs"));
    ASSERT_OK(machine.restore("early"));
    EXPECT_EQ(*machine.registers(k0), *registers);
  }
  ASSERT_OK(machine.destroy());
}

TEST(QemuMachineConfig, VcpusArePinnedToHostCpus) {
  const TemporaryDirectory directory;
  hypervisor::MachineConfig config;
  config.name = "pinned";
  config.vcpus = 2;
  config.memory_bytes = 64U << 20;
  config.kernel = PANICROOM_TEST_GUEST;
  config.directory = directory.path();
  config.pin = {0, 0};
  QemuOptions options;
  options.state_directory = test_state_directory();
  {
    // It checks the threads' affinity itself.
    const auto machine = QemuMachine::create(config, options);
    ASSERT_OK(machine);
  }
  config.pin = {0, 4095};
  EXPECT_FALSE(QemuMachine::create(config, options));
}

}  // namespace
}  // namespace panicroom::qemu
