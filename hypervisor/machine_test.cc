#include "hypervisor/machine.h"

#include <gtest/gtest.h>

namespace panicroom::hypervisor {
namespace {

TEST(Machine, OnlyEventsAfterWhichNothingRunsAreStops) {
  EXPECT_TRUE(stops(BreakpointHit{VcpuId{0}, BreakpointId{1}, Gva{1}}));
  EXPECT_TRUE(stops(IpiSent{}));
  EXPECT_TRUE(stops(GuestReset{}));
  EXPECT_TRUE(stops(GuestShutdown{}));
  EXPECT_TRUE(stops(Paused{}));
  EXPECT_TRUE(stops(MachineLost{host_error("gone")}));
  EXPECT_FALSE(stops(Output{Stream::kConsole, "x"}));
  EXPECT_FALSE(stops(DeadlinePassed{}));
  EXPECT_FALSE(stops(Cancelled{}));
}

TEST(Machine, AHitIsOneVcpus) {
  const Event hit = BreakpointHit{VcpuId{1}, BreakpointId{7}, Gva{1}};
  EXPECT_TRUE(is_hit_of(hit, VcpuId{1}));
  EXPECT_FALSE(is_hit_of(hit, VcpuId{0}));
  EXPECT_FALSE(is_hit_of(Paused{}, VcpuId{1}));
}

TEST(Machine, EveryCapabilityAndDeliveryModeHasAName) {
  EXPECT_EQ(name(Capability::kSnapshot), "snapshot");
  EXPECT_EQ(name(Capability::kIpiPolicy), "ipi-policy");
  EXPECT_EQ(name(Capability::kTargetedNmi), "targeted-nmi");
  EXPECT_EQ(name(Capability::kMce), "mce");
  EXPECT_EQ(name(Capability::kIpiRecord), "ipi-record");
  EXPECT_EQ(name(DeliveryMode::kFixed), "fixed");
  EXPECT_EQ(name(DeliveryMode::kLowestPriority), "lowest-priority");
  EXPECT_EQ(name(DeliveryMode::kSmi), "smi");
  EXPECT_EQ(name(DeliveryMode::kNmi), "nmi");
  EXPECT_EQ(name(DeliveryMode::kInit), "init");
  EXPECT_EQ(name(DeliveryMode::kStartup), "startup");
}

TEST(MachineCheck, TheHandlerLearnsWhetherItMayGoOn) {
  EXPECT_EQ(global_status(MachineCheck{}), 4U) << "the context is corrupt";
  EXPECT_EQ(global_status({.bank = 1, .status = 0xb000'0000'0000'0005}), 5U);
}

TEST(Machine, AMachineCheckInWords) {
  EXPECT_EQ(to_text(MachineCheck{}), "0xb200000000000005 in bank 1");
  EXPECT_EQ(to_text(MachineCheck{.bank = 9, .status = 1}), "0x1 in bank 9");
}

}  // namespace
}  // namespace panicroom::hypervisor
