// What connects the local APICs, the IOAPIC and the devices' interrupt lines, and the one place where it is decided
// what becomes of an IPI: send().
//
// Owns the APICs. vCPU n has APIC ID n; vCPU 0 is the bootstrap processor. Not thread-safe: everything happens under
// the machine's mutex. Nothing here blocks or wakes anybody; take_woken() tells the machine whom to kick.
//
// While IPIs are watched, hypervisor::IpiPolicy decides for each target of every IPI, of whatever kind and way of
// sending, as hypervisor/qemu/apic_routing.h has it:
//  - delayed ones are reported as delivered as sent;
//  - INIT is subject to rules. Startup and INIT de-assert cannot be delayed, and are dropped or turned into something
//    else for all targets or for none;
//  - of a lowest-priority IPI to which no rule applies all addressed vCPUs are the targets, of which one gets it; if a
//    rule spares some, the one of the rest that gets it does so as kFixed, and the others are reported as not reached.
// Interrupts from the IOAPIC and the LVT are no IPIs, and no rule speaks of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "hypervisor/ipi.h"
#include "hypervisor/ipi_policy.h"
#include "hypervisor/kvm/apic/interrupt_message.h"
#include "hypervisor/kvm/apic/io_apic.h"
#include "hypervisor/kvm/apic/ipi_record.h"
#include "hypervisor/kvm/apic/local_apic.h"
#include "hypervisor/machine.h"

namespace panicroom::kvm {

// One moment by the guest's clocks and by the host's, by which IPIs are delayed.
struct Moment {
  Now guest;
  hypervisor::Clock::time_point host;
};

class InterruptFabric {
 public:
  InterruptFabric(std::uint32_t vcpus, std::uint64_t tsc_khz);
  // Power-up of everything; delayed IPIs are forgotten. What is watched, and the record, stay.
  void reset();

  // `vcpu` must exist, here and everywhere below. Through the reference for the vCPU loop: deliverable(),
  // acknowledge(), take_*(), cr8() and so on. What the guest reads and writes goes through the functions below.
  [[nodiscard]] LocalApic& apic(VcpuId vcpu) { return apics_[index(vcpu)]; }
  [[nodiscard]] const LocalApic& apic(VcpuId vcpu) const { return apics_[index(vcpu)]; }
  [[nodiscard]] const IoApic& io_apic() const { return io_apic_; }
  [[nodiscard]] std::uint32_t vcpus() const { return static_cast<std::uint32_t>(apics_.size()); }

  // --- Accesses by the guest.
  // What a write led to. `sent`: an IPI to be reported (only while watching).
  struct Written {
    bool general_protection = false;
    std::optional<hypervisor::Ipi> sent;
  };
  // Whether this vCPU's local APIC or the IOAPIC lies at this address. If not, read() gives all ones and write()
  // nothing.
  [[nodiscard]] bool maps(VcpuId vcpu, Gpa at) const;
  std::uint32_t read(VcpuId vcpu, Gpa at, Now now);
  Written write(VcpuId vcpu, Gpa at, std::uint32_t value, const Moment& now);
  // The MSRs of LocalApic::owns_msr(). Nothing: #GP.
  std::optional<std::uint64_t> read_msr(VcpuId vcpu, std::uint32_t msr, Now now);
  Written write_msr(VcpuId vcpu, std::uint32_t msr, std::uint64_t value, const Moment& now);

  // --- Interrupts.
  // Sends an IPI: applies the policy and delivers. Gives it back if it is to be reported, and else records it.
  std::optional<hypervisor::Ipi> send(VcpuId source, const IcrCommand& command, const Moment& now);
  // A device's line to the IOAPIC: see IoApic::set_pin().
  void set_pin(std::uint32_t pin, bool asserted);
  // An NMI to exactly this vCPU, whatever its APIC is set to.
  void inject_nmi(VcpuId vcpu);
  // The vCPU's timer: see LocalApic::advance().
  void advance(VcpuId vcpu, Now now);

  // The vCPUs to which something was delivered since the last call, ascending: those that halt or run may have to look.
  std::vector<VcpuId> take_woken();

  // --- The policy, which no snapshot saves.
  void watch(const std::vector<hypervisor::IpiRule>& rules);
  void unwatch();  // What is delayed arrives nevertheless.
  void set_rule_active(std::size_t rule, bool active);
  [[nodiscard]] bool watching() const { return watching_; }

  // --- Delayed IPIs, by the host's clock.
  [[nodiscard]] std::optional<hypervisor::Clock::time_point> next_due() const;
  void deliver_due(hypervisor::Clock::time_point now);

  // --- What was sent while nobody watched. Neither reset() nor set_state() takes anything from it.
  [[nodiscard]] const IpiRecord& record() const { return record_; }
  hypervisor::UnwatchedIpis take_unwatched() { return record_.take(); }

  // --- Snapshots: APICs, IOAPIC and what is delayed, by how much longer. Put back, every vCPU counts as woken.
  struct Delayed {
    hypervisor::Clock::duration by;
    VcpuId target{};
    Message message;
  };
  struct State {
    std::vector<LocalApic> apics;
    IoApic io_apic;
    std::vector<Delayed> delayed;
  };
  [[nodiscard]] State state(hypervisor::Clock::time_point now) const;
  void set_state(const State& state, hypervisor::Clock::time_point now);

 private:
  // What one target of an IPI gets: nothing, now or later.
  struct Delivery {
    std::optional<DeliveryMode> mode;
    std::uint8_t vector = 0;
    std::chrono::nanoseconds delay{0};
  };
  struct Due {
    hypervisor::Clock::time_point at;
    VcpuId target{};
    Message message;
  };

  [[nodiscard]] std::vector<VcpuId> targets_of(const IcrCommand& command, VcpuId source) const;
  std::vector<Delivery> decide(const IcrCommand& command, VcpuId source, std::span<const VcpuId> targets);
  [[nodiscard]] VcpuId arbitrate(std::span<const VcpuId> candidates) const;
  bool deliver(VcpuId target, const Message& message);
  void deliver(const IoApic::Request& request);
  Written settle(VcpuId source, const Effects& effects, const Moment& now);

  std::vector<LocalApic> apics_;
  IoApic io_apic_;
  std::vector<Due> due_;  // In the order in which they were sent.
  std::vector<bool> woken_;
  bool watching_ = false;
  hypervisor::IpiPolicy policy_;  // Empty unless watching.
  IpiRecord record_;
};

}  // namespace panicroom::kvm
