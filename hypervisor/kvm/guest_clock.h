// The guest's time: a clock and time-stamp counters that stand still while the machine is stopped.
//
// The machine's mutex guards it. Where KVM does not let the counters be set (KVM_VCPU_TSC_OFFSET), the guest's time
// goes on during a stop, the clock's as the counters'.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "hypervisor/kvm/apic/interrupt_message.h"
#include "hypervisor/kvm/vcpu.h"
#include "hypervisor/machine.h"

namespace panicroom::kvm {

class GuestClock {
 public:
  struct State {
    std::chrono::nanoseconds clock{0};
    std::vector<std::uint64_t> counters;  // Of each vCPU.
  };

  // Standing still at 0, for those vCPUs. `tsc_khz`: how fast the counters run.
  Result<> begin(std::vector<Vcpu*> vcpus, std::uint64_t tsc_khz);

  [[nodiscard]] std::uint64_t tsc_khz() const { return tsc_khz_; }
  // Whether time stands still at all.
  [[nodiscard]] bool can_stop() const { return can_stop_; }
  void stop();
  Result<> go();

  [[nodiscard]] Now now(std::uint32_t vcpu) const;
  // The guest may have written to this vCPU's counter; not while the vCPU is in KVM_RUN.
  void refresh(std::uint32_t vcpu);
  // When by the host's clock it will be that late, if the clock goes on.
  [[nodiscard]] hypervisor::Clock::time_point host_time_of(std::chrono::nanoseconds clock) const;

  // Only while it stands still.
  [[nodiscard]] State state() const;
  Result<> set_state(const State& state);

 private:
  struct Moment {
    hypervisor::Clock::time_point host;
    std::uint64_t tsc = 0;  // The host's.
  };
  static Moment moment();

  std::vector<Vcpu*> vcpus_;
  std::uint64_t tsc_khz_ = 1;
  bool can_stop_ = false;
  hypervisor::Clock::time_point zero_;  // The host's time at which the clock would have been 0.
  std::vector<std::uint64_t> offsets_;  // Guest's counter - host's.
  std::optional<Moment> stopped_;
};

}  // namespace panicroom::kvm
