// The other vCPUs: INIT and startup (Intel SDM Vol. 3, 9.4), and who may not begin yet.
#include <gtest/gtest.h>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

class Startup : public Conformance {};

TEST_P(Startup, EveryVcpuBeginsWithItsOwnNumber) {
  constexpr std::uint32_t kVcpus = 8;
  auto guest = at_work(kVcpus);
  ASSERT_NE(guest, nullptr);
  for (std::uint32_t i = 0; i < kVcpus; ++i) {
    const auto registers = guest->machine().registers(VcpuId{i});
    ASSERT_OK(registers);
    EXPECT_EQ(registers->rbx, i);
    EXPECT_EQ(cpl(*registers), 0U);
    EXPECT_NE(registers->efer & kEferLma, 0U);
  }
}

TEST_P(Startup, OneVcpuIsEnough) {
  auto guest = at_work(1);
  ASSERT_NE(guest, nullptr);
  guest->work({k0});
  guest->machine().set_held(k0, true);
  EXPECT_FALSE(guest->machine().resume());
}

TEST_P(Startup, OthersDoNothingUntilTheyAreStarted) {
  auto guest = create(3);
  ASSERT_NE(guest, nullptr);
  ASSERT_TRUE(guest->run_to("hello", k0));
  for (const auto vcpu : {k1, k2}) EXPECT_EQ(guest->number("counters", vcpu), 0U);
  guest->work({k0, k1, k2});
}

TEST_P(Startup, AHeldVcpuBeginsWhenItIsReleased) {
  auto guest = create(3);
  ASSERT_NE(guest, nullptr);
  // Whatever a firmware has to do with the others, it has done.
  ASSERT_TRUE(guest->run_to("hello", k0));
  guest->machine().set_held(k2, true);
  guest->work({k0, k1});
  EXPECT_EQ(guest->number("counters", k2), 0U);
  guest->machine().set_held(k2, false);
  guest->work({k2});
  EXPECT_EQ(guest->machine().registers(k2)->rbx, 2U);
}

TEST_P(Startup, InitStopsAVcpuAndStartupBeginsItAnew) {
  auto guest = at_work(3);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  auto changed = machine.registers(k1);
  ASSERT_OK(changed);
  changed->r12 = 0x1234;
  ASSERT_OK(machine.set_registers(k1, *changed));
  for (int trial = 0; trial < 3; ++trial) {
    guest->send_ipi(k0, 0x01000000, 0x4500);
    guest->work({k0, k2});
    const auto count = guest->number("counters", k1);
    guest->work({k0, k2});
    EXPECT_EQ(guest->number("counters", k1), count) << "it waits for a startup";
    guest->send_ipi(k0, 0x01000000, 0x4608);
    guest->work({k1});
    const auto registers = machine.registers(k1);
    ASSERT_OK(registers);
    EXPECT_EQ(registers->rbx, 1U);
    EXPECT_EQ(registers->r12, 0U) << "INIT has cleared its registers";
    // A second one, as the Multiprocessor Specification has it (B.4), means nothing to a vCPU that runs.
    guest->send_ipi(k0, 0x01000000, 0x4608);
    guest->work({k0, k1, k2});
  }
}

TEST_P(Startup, ABreakpointInTheStartupCodeOfAnotherVcpuIsHit) {
  auto guest = create(2);
  ASSERT_NE(guest, nullptr);
  ASSERT_TRUE(guest->run_to("hello", k0));
  ASSERT_TRUE(guest->run_to("other64", k1));
  EXPECT_EQ(guest->machine().registers(k1)->rip, guest->at("other64").value);
  ASSERT_TRUE(guest->run_to("work", k1));
}

PANICROOM_ON_EVERY_ENGINE(Startup);

}  // namespace
}  // namespace panicroom::hypervisor
