#include "hypervisor/kvm/guest_clock.h"

#include <x86intrin.h>

namespace panicroom::kvm {

GuestClock::Moment GuestClock::moment() { return {hypervisor::Clock::now(), __rdtsc()}; }

Result<> GuestClock::begin(std::vector<Vcpu*> vcpus, std::uint64_t tsc_khz) {
  vcpus_ = std::move(vcpus);
  tsc_khz_ = tsc_khz;
  can_stop_ = true;
  for (const auto* vcpu : vcpus_) can_stop_ = can_stop_ && vcpu->tsc_offset().has_value();
  stopped_ = moment();
  zero_ = stopped_->host;
  offsets_.assign(vcpus_.size(), 0);
  constexpr std::uint32_t kTsc = 0x10;
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    if (can_stop_) {
      offsets_[i] = 0 - stopped_->tsc;
      TRY(vcpus_[i]->set_tsc_offset(offsets_[i]));
    } else {
      offsets_[i] = TRY(vcpus_[i]->msr(kTsc)) - moment().tsc;
    }
  }
  return {};
}

void GuestClock::stop() {
  if (!stopped_ && can_stop_) stopped_ = moment();
}

void GuestClock::refresh(std::uint32_t vcpu) {
  if (const auto offset = vcpus_[vcpu]->tsc_offset()) offsets_[vcpu] = *offset;
}

Result<> GuestClock::go() {
  if (!stopped_) return {};
  const auto now = moment();
  const auto ticks = now.tsc - stopped_->tsc;
  zero_ += now.host - stopped_->host;
  stopped_.reset();
  if (!can_stop_) return {};
  for (std::uint32_t i = 0; i < vcpus_.size(); ++i) {
    refresh(i);
    offsets_[i] -= ticks;
    TRY(vcpus_[i]->set_tsc_offset(offsets_[i]));
  }
  return {};
}

Now GuestClock::now(std::uint32_t vcpu) const {
  const auto at = stopped_ ? *stopped_ : moment();
  return {at.host - zero_, at.tsc + offsets_[vcpu]};
}

hypervisor::Clock::time_point GuestClock::host_time_of(std::chrono::nanoseconds clock) const { return zero_ + clock; }

GuestClock::State GuestClock::state() const {
  State state;
  for (std::uint32_t i = 0; i < vcpus_.size(); ++i) {
    const auto now = this->now(i);
    state.clock = now.clock;
    state.counters.push_back(now.tsc);
  }
  return state;
}

Result<> GuestClock::set_state(const State& state) {
  if (!can_stop_) return {};
  if (!stopped_) stopped_ = moment();
  zero_ = stopped_->host - state.clock;
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    offsets_[i] = state.counters[i] - stopped_->tsc;
    TRY(vcpus_[i]->set_tsc_offset(offsets_[i]));
  }
  return {};
}

}  // namespace panicroom::kvm
