#include "agent/protocol/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "agent/protocol/agent.pb.h"
#include "agent/protocol/start_page.h"

namespace panicroom::agent {
namespace {

std::string error_of(const v1::Config& message) {
  const std::string bytes = message.SerializeAsString();
  const auto config = decode_config(as_bytes(bytes));
  return config ? "" : config.error().message();
}

TEST(Config, RoundTrip) {
  Config config;
  config.capture_command_line = "console=ttyS0 nr_cpus=1";
  config.workloads = {{VcpuId{0}, find_workload("syscalls")}, {VcpuId{3}, find_workload("idle")}};
  const auto bytes = encode_config(config);
  ASSERT_TRUE(bytes);
  const auto back = decode_config(*bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->capture_command_line, config.capture_command_line);
  ASSERT_EQ(back->workloads.size(), 2u);
  EXPECT_EQ(back->workloads[1].cpu, VcpuId{3});
  EXPECT_EQ(back->workloads[1].workload->name, "idle");
}

TEST(Config, TheKexecCallAndTheSlowdownAreKept) {
  EXPECT_EQ(decode_config({})->kexec, KexecCall::kFileLoad);
  EXPECT_EQ(decode_config({})->slowdown, 1u);
  Config config;
  config.kexec = KexecCall::kLoad;
  config.slowdown = 20;
  const auto bytes = encode_config(config);
  ASSERT_TRUE(bytes) << bytes.error().message();
  const auto back = decode_config(*bytes);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->kexec, KexecCall::kLoad);
  EXPECT_EQ(back->slowdown, 20u);
}

TEST(Config, RefusesAKexecCallAndASlowdownThatThereAreNot) {
  v1::Config call;
  call.set_kexec(static_cast<v1::KexecCall>(7));
  EXPECT_THAT(error_of(call), testing::HasSubstr("kexec: no system call has the number 7"));
  v1::Config slow;
  slow.set_slowdown(kMaxSlowdown + 1);
  EXPECT_THAT(error_of(slow), testing::HasSubstr("slowdown"));
}

TEST(Config, StartsKeepTheirOrderAndMayShareACpu) {
  Config config;
  config.starts = {
      {VcpuId{1}, find_workload("reboot")}, {VcpuId{0}, find_workload("sysrq-c")}, {VcpuId{1}, find_workload("kmsg")}};
  const auto bytes = encode_config(config);
  ASSERT_TRUE(bytes) << bytes.error().message();
  const auto back = decode_config(*bytes);
  ASSERT_TRUE(back) << back.error().message();
  ASSERT_EQ(back->starts.size(), 3u);
  EXPECT_EQ(back->starts[0].workload->name, "reboot");
  EXPECT_EQ(back->starts[1].cpu, VcpuId{0});
  EXPECT_EQ(back->starts[2].workload->name, "kmsg");
  EXPECT_TRUE(back->workloads.empty());
}

TEST(Config, RefusesStartsThatNoAgentCanKeep) {
  v1::Config unknown;
  unknown.add_starts()->set_name("dance");
  EXPECT_THAT(error_of(unknown), testing::HasSubstr("start: cpu0: no workload is called 'dance'"));

  v1::Config beyond;
  beyond.add_starts()->set_name("reboot");
  beyond.mutable_starts(0)->set_cpu(1u << 20);
  EXPECT_THAT(error_of(beyond), testing::HasSubstr("start: cpu1048576 is beyond"));

  v1::Config many;
  for (std::size_t i = 0; i <= kMaxStarts; ++i) many.add_starts()->set_name("kmsg");
  EXPECT_THAT(error_of(many), testing::HasSubstr("at most"));
}

TEST(Config, WhatHappensOnceIsNoWorkload) {
  v1::Config message;
  message.add_workloads()->set_name("reboot");
  EXPECT_THAT(error_of(message), testing::HasSubstr("'reboot' happens once"));
}

TEST(Config, RefusesWhatNoAgentCanKeep) {
  v1::Config unknown;
  unknown.add_workloads()->set_name("dance");
  EXPECT_THAT(error_of(unknown), testing::HasSubstr("no workload is called 'dance'"));

  v1::Config twice;
  twice.add_workloads()->set_name("idle");
  twice.add_workloads()->set_name("kmsg");
  EXPECT_THAT(error_of(twice), testing::HasSubstr("cpu0 has more than one"));

  v1::Config beyond;
  beyond.add_workloads()->set_name("idle");
  beyond.mutable_workloads(0)->set_cpu(1u << 20);
  EXPECT_THAT(error_of(beyond), testing::HasSubstr("beyond"));

  v1::Config line;
  line.set_capture_command_line(std::string(kMaxCaptureCommandLine + 1, 'x'));
  EXPECT_THAT(error_of(line), testing::HasSubstr("at most"));

  EXPECT_FALSE(decode_config(as_bytes("\xff\xff\xff")));
  Config config;
  config.capture_command_line = std::string("a\0b", 3);
  EXPECT_FALSE(encode_config(config));
}

TEST(Workloads, EachCpuHasItsOwnSyscall) {
  const Workload* syscalls = find_workload("syscalls");
  ASSERT_NE(syscalls, nullptr);
  std::set<std::string_view> symbols;
  std::set<long> numbers;
  for (std::uint32_t cpu = 0; cpu < 16; ++cpu) {
    symbols.insert(point_symbol(*syscalls, VcpuId{cpu}));
    numbers.insert(workload_syscall(VcpuId{cpu}));
  }
  EXPECT_EQ(symbols.size(), 16u);
  EXPECT_EQ(numbers.size(), 16u);
  EXPECT_EQ(point_symbol(*syscalls, VcpuId{17}), point_symbol(*syscalls, VcpuId{1}));
}

TEST(Workloads, EveryOneIsFoundByNameAndHasAPointIfItEntersTheKernel) {
  for (const Workload& workload : workloads()) {
    EXPECT_EQ(find_workload(workload.name), &workload);
    EXPECT_EQ(point_symbol(workload, VcpuId{0}).empty(), workload.kind == WorkloadKind::kUser);
  }
  EXPECT_EQ(find_workload("dance"), nullptr);
}

}  // namespace
}  // namespace panicroom::agent
