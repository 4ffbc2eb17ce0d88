// IPIs of every kind, by the local APIC's addressing (Intel SDM Vol. 3, 11.6): whom each reaches, and as what.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <vector>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

class EveryIpi : public Conformance {};

struct Kind {
  const char* name;
  std::uint32_t icr_high, icr_low;  // Sent by vCPU 0 of three.
  DeliveryMode mode;
  std::vector<VcpuId> targets;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> kKinds{
      {"NMI to one", 0x01000000, 0x4400, DeliveryMode::kNmi, {k1}},
      {"NMI to a logical address", 0x06000000, 0x4c00, DeliveryMode::kNmi, {k1, k2}},
      {"NMI to all others", 0, 0xc4400, DeliveryMode::kNmi, {k1, k2}},
      {"NMI to itself", 0x00000000, 0x4400, DeliveryMode::kNmi, {k0}},
      {"an interrupt to one", 0x02000000, 0x40f8, DeliveryMode::kFixed, {k2}},
      {"an interrupt to one that sends it", 0x00000000, 0x40f7, DeliveryMode::kFixed, {k0}},
      {"an interrupt to a physical broadcast", 0xff000000, 0x40f6, DeliveryMode::kFixed, {k0, k1, k2}},
      {"an interrupt to a logical address", 0x06000000, 0x48f5, DeliveryMode::kFixed, {k1, k2}},
      {"an interrupt to a logical broadcast", 0xff000000, 0x48f4, DeliveryMode::kFixed, {k0, k1, k2}},
      {"an interrupt to itself", 0, 0x440f3, DeliveryMode::kFixed, {k0}},
      {"an interrupt to all", 0, 0x840f2, DeliveryMode::kFixed, {k0, k1, k2}},
      {"an interrupt to all others", 0, 0xc40f1, DeliveryMode::kFixed, {k1, k2}},
      {"an interrupt to the least busy of two", 0x06000000, 0x49e8, DeliveryMode::kLowestPriority, {k1, k2}},
      {"an interrupt of the lowest vector", 0x01000000, 0x4020, DeliveryMode::kFixed, {k1}},
      {"an interrupt to nobody", 0x09000000, 0x40e6, DeliveryMode::kFixed, {}},
      {"an interrupt to no logical address", 0xf8000000, 0x48e5, DeliveryMode::kFixed, {}},
  };
  return kKinds;
}

TEST_P(EveryIpi, ReachesWhomItAddressesAndIsReportedIfWatched) {
  auto guest = at_work(3);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  const std::vector<VcpuId> all{k0, k1, k2};
  for (const auto vcpu : all) guest->obey(vcpu, Command::kInterruptsOn);
  for (const bool watched : {false, true}) {
    if (watched) {
      if (!machine.can(Capability::kIpiPolicy)) break;
      ASSERT_OK(machine.watch_ipis(icr_stores(*guest), {}));
    }
    for (const auto& kind : kinds()) {
      SCOPED_TRACE(kind.name);
      const char* table = kind.mode == DeliveryMode::kNmi ? "nmis" : "irqs";
      const char* other = kind.mode == DeliveryMode::kNmi ? "irqs" : "nmis";
      std::map<VcpuId, std::uint64_t> before;
      std::map<VcpuId, std::uint64_t> others_before;
      for (const auto vcpu : all) {
        before[vcpu] = guest->number(table, vcpu);
        others_before[vcpu] = guest->number(other, vcpu);
      }
      guest->send_ipi(k0, kind.icr_high, kind.icr_low);
      if (watched) {
        const auto event = guest->run();
        ASSERT_EVENT(IpiSent, event);
        const auto& ipi = std::get<IpiSent>(event).ipi;
        EXPECT_EQ(ipi.source, k0);
        EXPECT_EQ(ipi.targets, kind.targets);
        EXPECT_EQ(ipi.sent_as, kind.mode);
        if (kind.mode != DeliveryMode::kNmi) {
          EXPECT_EQ(ipi.vector, kind.icr_low & 0xff);
        }
        EXPECT_EQ(ipi.delivered_as, std::vector<std::optional<DeliveryMode>>(kind.targets.size(), kind.mode));
        EXPECT_EQ(machine.registers(k0)->rip, guest->at("icr_any_next").value);
      }
      const auto arrived = [&](VcpuId vcpu) { return guest->number(table, vcpu) - before[vcpu]; };
      const auto sum = [&] {
        return std::accumulate(all.begin(), all.end(), std::uint64_t{0},
                               [&](std::uint64_t so_far, VcpuId vcpu) { return so_far + arrived(vcpu); });
      };
      const bool one_of_them = kind.mode == DeliveryMode::kLowestPriority;
      const std::uint64_t expected = one_of_them ? 1 : kind.targets.size();
      guest->run_until([&] { return sum() >= expected; });
      // And no more.
      guest->work(all);
      EXPECT_EQ(sum(), expected);
      for (const auto vcpu : all) {
        const bool is_target = std::find(kind.targets.begin(), kind.targets.end(), vcpu) != kind.targets.end();
        if (!one_of_them || !is_target) {
          EXPECT_EQ(arrived(vcpu), is_target ? 1U : 0U) << "vCPU " << index(vcpu);
        }
        if (arrived(vcpu) > 0) {
          EXPECT_EQ(guest->word("last_vector", vcpu), kind.mode == DeliveryMode::kNmi ? 2U : kind.icr_low & 0xff);
        }
        EXPECT_EQ(guest->number(other, vcpu), others_before[vcpu]) << "vCPU " << index(vcpu);
      }
      ASSERT_FALSE(HasFailure());
    }
  }
}

PANICROOM_ON_EVERY_ENGINE(EveryIpi);

}  // namespace
}  // namespace panicroom::hypervisor
