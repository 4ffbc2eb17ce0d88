// The seed of it all: a CPU that panics tells the others to stop. Whether one does depends on how the IPI arrives there
// and on whether that CPU has interrupts on. Every cell of that table, for both IPIs that kernels send.
#include <gtest/gtest.h>

#include <string>

#include "hypervisor/conformance/conformance.h"

namespace panicroom::hypervisor {
namespace {

class StopIpi : public Conformance {};

struct Cell {
  const char* arrives;
  Delivery delivery;
  bool interrupts_on;
  bool stops;
  bool stops_later;  // When it turns interrupts on.
};
const Cell kCells[] = {{"as an NMI", DeliverAsNmi{}, false, true, true},
                       {"as an NMI", DeliverAsNmi{}, true, true, true},
                       {"as a maskable interrupt", DeliverAsIrq{}, false, false, true},
                       {"as a maskable interrupt", DeliverAsIrq{}, true, true, true},
                       {"not at all", Drop{}, false, false, false},
                       {"not at all", Drop{}, true, false, false}};

struct Sent {
  const char* as;
  std::uint32_t icr_low;
  DeliveryMode mode;
};
constexpr Sent kSent[] = {{"an NMI", 0xc4400, DeliveryMode::kNmi}, {"vector 0xf8", 0xc40f8, DeliveryMode::kFixed}};

std::optional<DeliveryMode> arrival(const Delivery& delivery) {
  if (std::holds_alternative<DeliverAsNmi>(delivery)) return DeliveryMode::kNmi;
  if (std::holds_alternative<DeliverAsIrq>(delivery)) return DeliveryMode::kFixed;
  return std::nullopt;
}

void expect_stopped(TestGuest& guest, VcpuId vcpu, const std::optional<DeliveryMode>& by) {
  guest.run_until([&] { return guest.number("stopped", vcpu) == 1 && *guest.machine().halted(vcpu); });
  const bool nmi = by == DeliveryMode::kNmi;
  EXPECT_EQ(guest.number("nmis", vcpu), nmi ? 1U : 0U);
  EXPECT_EQ(guest.number("irqs", vcpu), nmi ? 0U : 1U);
  if (!nmi) {
    EXPECT_EQ(guest.word("last_vector", vcpu), std::uint32_t{kRebootVector});
  }
  const auto passes = guest.number("counters", vcpu);
  guest.work({k0});
  EXPECT_EQ(guest.number("counters", vcpu), passes) << "it goes on";
}

void expect_not_stopped(TestGuest& guest, VcpuId vcpu) {
  guest.work({k0, vcpu});
  EXPECT_EQ(guest.number("stopped", vcpu), 0U);
  EXPECT_EQ(guest.number("nmis", vcpu), 0U);
  EXPECT_EQ(guest.number("irqs", vcpu), 0U);
}

TEST_P(StopIpi, WhoStopsIsDecidedByHowItArrivesAndByInterruptsOff) {
  auto guest = at_work(2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  NEEDS_CAPABILITY(machine, Capability::kIpiPolicy);
  NEEDS_CAPABILITY(machine, Capability::kSnapshot);
  guest->set_word("stops", k1, 1);
  ASSERT_OK(machine.snapshot("off"));
  guest->obey(k1, Command::kInterruptsOn);
  ASSERT_OK(machine.snapshot("on"));
  for (const auto& sent : kSent) {
    for (const auto& cell : kCells) {
      SCOPED_TRACE(std::string("sent as ") + sent.as + ", arrives " + cell.arrives + ", interrupts " +
                   (cell.interrupts_on ? "on" : "off"));
      ASSERT_OK(machine.restore(cell.interrupts_on ? "on" : "off"));
      std::vector<IpiRule> rules(1);
      rules[0].target = k1;
      rules[0].delivery = cell.delivery;
      ASSERT_OK(machine.watch_ipis(icr_stores(*guest), rules));
      const auto registers = machine.registers(k1);
      ASSERT_OK(registers);
      ASSERT_EQ((registers->rflags & kRflagsIf) != 0, cell.interrupts_on);

      guest->send_ipi(k0, 0, sent.icr_low);
      const auto event = guest->run();
      ASSERT_EVENT(IpiSent, event);
      const auto& ipi = std::get<IpiSent>(event).ipi;
      EXPECT_EQ(ipi.sent_as, sent.mode);
      ASSERT_EQ(ipi.delivered_as.size(), 1U);
      EXPECT_EQ(ipi.delivered_as[0], arrival(cell.delivery));

      if (cell.stops) {
        expect_stopped(*guest, k1, arrival(cell.delivery));
      } else {
        expect_not_stopped(*guest, k1);
        guest->command(k1, Command::kInterruptsOn);
        if (cell.stops_later) {
          expect_stopped(*guest, k1, arrival(cell.delivery));
        } else {
          expect_not_stopped(*guest, k1);
        }
      }
      ASSERT_FALSE(HasFailure());
    }
  }
}

PANICROOM_ON_EVERY_ENGINE(StopIpi);

}  // namespace
}  // namespace panicroom::hypervisor
