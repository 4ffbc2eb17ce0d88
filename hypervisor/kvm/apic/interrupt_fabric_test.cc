// How interrupts find their way: destinations, shorthands, arbitration, IOAPIC, snapshots. What rules make of IPIs is
// in interrupt_fabric_policy_test.cc.
#include "hypervisor/kvm/apic/interrupt_fabric.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::kvm {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr VcpuId k0{0};
constexpr VcpuId k1{1};
constexpr VcpuId k2{2};
constexpr VcpuId k3{3};
constexpr Gpa kApicPage{apic::kDefaultBase};
constexpr Gpa kIoApicPage{io_apic::kBase};
constexpr Moment kNow{.guest = {.clock = 1000ns, .tsc = 1000}, .host = {}};

class InterruptFabricTest : public testing::Test {
 protected:
  // As Linux sets them up: flat, each with its bit.
  InterruptFabricTest() {
    for (std::uint32_t i = 0; i < 4; ++i) {
      write(VcpuId{i}, apic::kSvr, 0x1ff);
      write(VcpuId{i}, apic::kLdr, 1U << (24 + i));
    }
  }

  std::optional<hypervisor::Ipi> write(VcpuId vcpu, std::uint32_t offset, std::uint32_t value) {
    return fabric_.write(vcpu, kApicPage + offset, value, kNow).sent;
  }
  void send(VcpuId source, std::uint32_t low, std::uint8_t destination = 0) {
    write(source, apic::kIcrHigh, std::uint32_t{destination} << 24);
    write(source, apic::kIcrLow, low);
  }
  void set_entry(std::uint32_t pin, std::uint32_t low, std::uint8_t destination) {
    fabric_.write(k0, kIoApicPage, 0x11 + 2 * pin, kNow);
    fabric_.write(k0, kIoApicPage + 0x10, std::uint32_t{destination} << 24, kNow);
    fabric_.write(k0, kIoApicPage, 0x10 + 2 * pin, kNow);
    fabric_.write(k0, kIoApicPage + 0x10, low, kNow);
  }
  void enter_x2apic() {
    for (std::uint32_t i = 0; i < 4; ++i) {
      const auto written = fabric_.write_msr(VcpuId{i}, apic::kMsrApicBase,
                                             apic::kDefaultBase | apic::kApicBaseEnable | apic::kApicBaseX2apic, kNow);
      ASSERT_FALSE(written.general_protection);
    }
  }
  std::vector<VcpuId> pending(std::uint8_t vector) {
    std::vector<VcpuId> vcpus;
    for (std::uint32_t i = 0; i < 4; ++i) {
      if (fabric_.apic(VcpuId{i}).irr().contains(vector)) vcpus.push_back(VcpuId{i});
    }
    return vcpus;
  }

  InterruptFabric fabric_{4, 1'000'000};
};

TEST_F(InterruptFabricTest, PhysicalDestinations) {
  send(k0, 0x4041, 2);
  EXPECT_THAT(pending(0x41), ElementsAre(k2));
  EXPECT_THAT(fabric_.take_woken(), ElementsAre(k2));
  EXPECT_THAT(fabric_.take_woken(), IsEmpty());
  send(k0, 0x4042, 9);
  EXPECT_THAT(pending(0x42), IsEmpty());
  send(k0, 0x4043, 0xff);
  EXPECT_THAT(pending(0x43), ElementsAre(k0, k1, k2, k3));
  EXPECT_THAT(fabric_.take_woken(), ElementsAre(k0, k1, k2, k3));
}

TEST_F(InterruptFabricTest, LogicalDestinations) {
  send(k0, 0x4841, 0x0a);
  EXPECT_THAT(pending(0x41), ElementsAre(k1, k3));
  send(k0, 0x4842, 0xff);
  EXPECT_THAT(pending(0x42), ElementsAre(k0, k1, k2, k3));
  for (std::uint32_t i = 0; i < 4; ++i) {
    write(VcpuId{i}, apic::kDfr, 0x0fff'ffff);
    write(VcpuId{i}, apic::kLdr, (i / 2 << 28) | (1U << (24 + i % 2)));
  }
  send(k0, 0x4843, 0x13);
  EXPECT_THAT(pending(0x43), ElementsAre(k2, k3));
}

TEST_F(InterruptFabricTest, Shorthands) {
  send(k1, 0x4'4041);
  EXPECT_THAT(pending(0x41), ElementsAre(k1));
  send(k1, 0x8'4042);
  EXPECT_THAT(pending(0x42), ElementsAre(k0, k1, k2, k3));
  send(k1, 0xc'4043);
  EXPECT_THAT(pending(0x43), ElementsAre(k0, k2, k3));
}

TEST_F(InterruptFabricTest, X2apicDestinations) {
  enter_x2apic();
  const auto send_msr = [&](std::uint64_t value) { fabric_.write_msr(k0, 0x830, value, kNow); };
  send_msr((2ull << 32) | 0x41);
  EXPECT_THAT(pending(0x41), ElementsAre(k2));
  send_msr((0xaull << 32) | 0x842);
  EXPECT_THAT(pending(0x42), ElementsAre(k1, k3));
  send_msr((0xffull << 32) | 0x43);
  EXPECT_THAT(pending(0x43), IsEmpty());
  send_msr((0xffff'ffffull << 32) | 0x44);
  EXPECT_THAT(pending(0x44), ElementsAre(k0, k1, k2, k3));
  send_msr((0xffff'ffffull << 32) | 0x845);
  EXPECT_THAT(pending(0x45), ElementsAre(k0, k1, k2, k3));
  fabric_.write_msr(k3, 0x83f, 0x46, kNow);
  EXPECT_THAT(pending(0x46), ElementsAre(k3));
  // The page is gone, and what is refused is said so.
  EXPECT_FALSE(fabric_.maps(k0, kApicPage));
  EXPECT_TRUE(fabric_.write_msr(k0, 0x831, 0, kNow).general_protection);
  EXPECT_FALSE(fabric_.read_msr(k0, 0x831, kNow.guest));
  EXPECT_EQ(fabric_.read_msr(k3, 0x802, kNow.guest), 3U);
}

TEST_F(InterruptFabricTest, TheLowestPriorityIsThatOfTheLeastBusy) {
  write(k0, apic::kTpr, 0x20);
  write(k1, apic::kTpr, 0x10);
  write(k2, apic::kTpr, 0x10);
  write(k3, apic::kSvr, 0xff);
  send(k0, 0x4941, 0x0f);
  EXPECT_THAT(pending(0x41), ElementsAre(k1));
  fabric_.apic(k1).acknowledge();
  send(k0, 0x4942, 0x0f);
  EXPECT_THAT(pending(0x42), ElementsAre(k2));
  EXPECT_THAT(fabric_.take_woken(), ElementsAre(k1, k2));
}

TEST_F(InterruptFabricTest, StartsAnotherProcessor) {
  send(k0, 0xc500, 2);
  send(k0, 0x8500, 2);  // De-assert, which does nothing.
  send(k0, 0x4699, 2);
  EXPECT_THAT(fabric_.take_woken(), ElementsAre(k2));
  EXPECT_TRUE(fabric_.apic(k2).take_init());
  EXPECT_FALSE(fabric_.apic(k2).take_init());
  EXPECT_EQ(fabric_.apic(k2).take_startup(), 0x99);
  send(k0, 0x8500, 2);
  EXPECT_FALSE(fabric_.apic(k2).init_pending());
}

TEST_F(InterruptFabricTest, NmisReachAllButTheirSender) {
  send(k1, 0xc'0400);
  EXPECT_TRUE(fabric_.apic(k0).nmi_pending());
  EXPECT_FALSE(fabric_.apic(k1).nmi_pending());
  EXPECT_TRUE(fabric_.apic(k3).nmi_pending());
}

TEST_F(InterruptFabricTest, AnInjectedNmiReachesOneWhateverItsApicIsSetTo) {
  fabric_.write_msr(k1, apic::kMsrApicBase, apic::kDefaultBase, kNow);
  fabric_.inject_nmi(k1);
  EXPECT_TRUE(fabric_.apic(k1).nmi_pending());
  EXPECT_THAT(fabric_.take_woken(), ElementsAre(k1));
  EXPECT_EQ(fabric_.record().size(), 0U);
}

TEST_F(InterruptFabricTest, MapsTheOwnApicAndTheIoapic) {
  EXPECT_TRUE(fabric_.maps(k0, kApicPage));
  EXPECT_TRUE(fabric_.maps(k0, kApicPage + 0xfff));
  EXPECT_FALSE(fabric_.maps(k0, kApicPage + 0x1000));
  EXPECT_FALSE(fabric_.maps(k0, kApicPage - 1));
  EXPECT_TRUE(fabric_.maps(k0, kIoApicPage + 0x10));
  EXPECT_EQ(fabric_.read(k2, kApicPage + 0x20, kNow.guest), 2U << 24);
  EXPECT_EQ(fabric_.read(k2, Gpa{0xfed0'0000}, kNow.guest), 0xffff'ffffU);
  fabric_.write(k2, Gpa{0xfed0'0000}, 1, kNow);
  fabric_.write(k0, kIoApicPage, 1, kNow);
  EXPECT_EQ(fabric_.read(k0, kIoApicPage + 0x10, kNow.guest), 0x0017'0011U);
  // Where the guest has put it.
  fabric_.write_msr(k1, apic::kMsrApicBase, 0xd000'0000 | apic::kApicBaseEnable, kNow);
  EXPECT_FALSE(fabric_.maps(k1, kApicPage));
  EXPECT_EQ(fabric_.read(k1, Gpa{0xd000'0020}, kNow.guest), 1U << 24);
}

TEST_F(InterruptFabricTest, ADevicesLevelStaysUntilItIsTakenBack) {
  set_entry(9, 0x8039, 1);
  fabric_.set_pin(9, true);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(fabric_.take_woken(), ElementsAre(k1));
    EXPECT_EQ(fabric_.apic(k1).acknowledge(), 0x39);
    EXPECT_EQ(fabric_.apic(k1).deliverable(), std::nullopt);
    if (i == 1) fabric_.set_pin(9, false);
    write(k1, apic::kEoi, 0);
  }
  EXPECT_EQ(fabric_.apic(k1).deliverable(), std::nullopt);
  EXPECT_THAT(fabric_.take_woken(), IsEmpty());
}

TEST_F(InterruptFabricTest, ADevicesEdgeGoesToTheLeastBusy) {
  write(k0, apic::kTpr, 0x20);
  set_entry(4, 0x0934, 0x03);
  fabric_.set_pin(4, true);
  EXPECT_THAT(pending(0x34), ElementsAre(k1));
  set_entry(5, 0x0935, 0x80);  // Nobody.
  fabric_.set_pin(5, true);
  EXPECT_THAT(pending(0x35), IsEmpty());
}

TEST_F(InterruptFabricTest, ALevelThatNobodyTookIsTriedAgain) {
  set_entry(9, 0x8039, 7);
  fabric_.set_pin(9, true);
  EXPECT_FALSE(fabric_.io_apic().remote_irr(9));
  set_entry(9, 0x8039, 3);
  EXPECT_THAT(pending(0x39), ElementsAre(k3));
  EXPECT_TRUE(fabric_.io_apic().remote_irr(9));
}

TEST_F(InterruptFabricTest, TheTimerWakesItsOwnVcpu) {
  write(k2, apic::kLvtTimer, 0xec);
  write(k2, apic::kDivideConfiguration, 0xb);
  write(k2, apic::kInitialCount, 100);
  fabric_.advance(k2, {.clock = 1099ns});
  EXPECT_THAT(fabric_.take_woken(), IsEmpty());
  fabric_.advance(k2, {.clock = 1100ns});
  EXPECT_THAT(fabric_.take_woken(), ElementsAre(k2));
}

TEST_F(InterruptFabricTest, EveryIpiIsRecordedAndNoneReportedUnlessWatched) {
  EXPECT_EQ(write(k0, apic::kIcrLow, 0xc'4041), std::nullopt);
  send(k1, 0xc'0400);
  const auto [ipis, lost] = fabric_.take_unwatched();
  ASSERT_EQ(ipis.size(), 2U);
  EXPECT_EQ(lost, 0U);
  EXPECT_EQ(ipis[0].at, kNow.host);
  EXPECT_EQ(ipis[0].ipi.vector, 0x41);
  EXPECT_EQ(ipis[1].ipi.source, k1);
  EXPECT_EQ(ipis[1].ipi.sent_as, DeliveryMode::kNmi);
  EXPECT_THAT(ipis[1].ipi.targets, ElementsAre(k0, k2, k3));
  EXPECT_THAT(ipis[1].ipi.delivered_as, ElementsAre(DeliveryMode::kNmi, DeliveryMode::kNmi, DeliveryMode::kNmi));
  EXPECT_THAT(fabric_.take_unwatched().sent, IsEmpty()) << "they are told once";
}

TEST(IpiRecord, KeepsTheNewest) {
  IpiRecord record;
  for (std::size_t i = 0; i < IpiRecord::kCapacity + 3; ++i) {
    record.add({.at = hypervisor::Clock::time_point(std::chrono::nanoseconds(i)), .ipi = {}});
  }
  const auto [ipis, lost] = record.take();
  EXPECT_EQ(ipis.size(), IpiRecord::kCapacity);
  EXPECT_EQ(ipis.front().at, hypervisor::Clock::time_point(3ns));
  EXPECT_EQ(lost, 3U);
  EXPECT_EQ(record.take().lost, 0U);
}

TEST_F(InterruptFabricTest, ResetIsPowerUp) {
  send(k0, 0xc'4041);
  set_entry(9, 0x8039, 1);
  fabric_.reset();
  EXPECT_EQ(fabric_.apic(k1), LocalApic(1, false, 1'000'000));
  EXPECT_EQ(fabric_.io_apic(), IoApic());
  EXPECT_THAT(fabric_.take_woken(), IsEmpty());
  EXPECT_EQ(fabric_.record().size(), 1U);
}

TEST_F(InterruptFabricTest, ASnapshotPutsBackApicsAndIoapic) {
  set_entry(9, 0x8039, 1);
  fabric_.set_pin(9, true);
  send(k0, 0x4041, 2);
  const auto saved = fabric_.state({});
  fabric_.reset();
  fabric_.set_state(saved, {});
  EXPECT_THAT(pending(0x41), ElementsAre(k2));
  EXPECT_THAT(fabric_.take_woken(), ElementsAre(k0, k1, k2, k3));
  EXPECT_EQ(fabric_.apic(k1).acknowledge(), 0x39);
  write(k1, apic::kEoi, 0);
  EXPECT_EQ(fabric_.apic(k1).deliverable(), 0x39);
}

}  // namespace
}  // namespace panicroom::kvm
