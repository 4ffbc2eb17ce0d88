// The local APIC's interrupts: how they arrive, their priorities, and how the vCPU takes them. The registers as the
// guest reads and writes them are in local_apic_access.cc.
#include "hypervisor/kvm/apic/local_apic.h"

#include <utility>

namespace panicroom::kvm {

LocalApic::LocalApic(std::uint32_t apic_id, bool bootstrap, std::uint64_t tsc_khz)
    : id_(apic_id), bootstrap_(bootstrap), timer_(tsc_khz) {
  reset();
}

void LocalApic::reset() {
  apic_base_ = apic::kDefaultBase | apic::kApicBaseEnable | (bootstrap_ ? apic::kApicBaseBootstrap : 0);
  init_reset();
  state_ = bootstrap_ ? ProcessorState::kRunning : ProcessorState::kWaitForSipi;
  nmi_pending_ = false;
  init_pending_ = false;
  startup_.reset();
}

void LocalApic::init_reset() {
  tpr_ = 0;
  ldr_ = 0;
  dfr_ = 0xffff'ffff;
  svr_ = 0xff;
  irr_ = {};
  isr_ = {};
  tmr_ = {};
  esr_ = 0;
  errors_ = 0;
  icr_low_ = 0;
  icr_high_ = 0;
  lvt_.fill(apic::kLvtMasked);
  timer_.reset();
}

LocalApic::Mode LocalApic::mode() const {
  if ((apic_base_ & apic::kApicBaseEnable) == 0) return Mode::kDisabled;
  return (apic_base_ & apic::kApicBaseX2apic) != 0 ? Mode::kX2apic : Mode::kXapic;
}

bool LocalApic::software_enabled() const { return mode() != Mode::kDisabled && (svr_ & apic::kSvrEnable) != 0; }

std::uint8_t LocalApic::ppr() const {
  const std::uint8_t in_service = isr_.highest().value_or(0);
  return (tpr_ >> 4) >= (in_service >> 4) ? tpr_ : static_cast<std::uint8_t>(in_service & 0xf0);
}

std::optional<std::chrono::nanoseconds> LocalApic::next_timer(Now now) const {
  if ((lvt(Lvt::kTimer) & apic::kLvtMasked) != 0) return std::nullopt;
  return timer_.next(now);
}

bool LocalApic::advance(Now now) { return timer_.expire(now) && trigger(Lvt::kTimer); }

// x2APIC: the cluster in the upper half, one bit in the lower (SDM Vol. 3, 11.12.10.2).
std::uint32_t LocalApic::logical_id() const { return ((id_ >> 4) << 16) | (1U << (id_ & 0xf)); }

bool LocalApic::addressed_by(const Destination& destination) const {
  const std::uint32_t address = destination.address;
  if (address == Destination::kBroadcast) return true;
  if (!destination.logical) return address == id_;
  if (x2apic()) {
    const std::uint32_t own = logical_id();
    return (address >> 16) == (own >> 16) && (address & own & 0xffff) != 0;
  }
  if (address > 0xff) return false;
  const std::uint32_t own = ldr_ >> apic::kXapicIdShift;
  if (dfr_ >> 28 == apic::kDfrFlat) return (address & own) != 0;
  return (address >> 4) == (own >> 4) && (address & own & 0xf) != 0;
}

bool LocalApic::accept(const Message& message) {
  // Without its APIC a processor hears of nothing but its pins (SDM Vol. 3, 11.4.3).
  if (mode() == Mode::kDisabled) return false;
  switch (message.mode) {
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority:
      return request(message.vector, message.trigger);
    case DeliveryMode::kSmi:
      return false;
    case DeliveryMode::kNmi:
      nmi_pending_ = true;
      return true;
    case DeliveryMode::kInit:
      accept_init();
      return true;
    case DeliveryMode::kStartup:
      if (state_ != ProcessorState::kWaitForSipi || startup_) return false;
      startup_ = message.vector;
      return true;
  }
  return false;
}

bool LocalApic::request(std::uint8_t vector, TriggerMode trigger) {
  if (vector < apic::kFirstLegalVector) {
    raise_error(apic::kEsrReceiveIllegalVector);
    return false;
  }
  if (!software_enabled()) return false;
  irr_.set(vector);
  if (trigger == TriggerMode::kLevel) {
    tmr_.set(vector);
  } else {
    tmr_.clear(vector);
  }
  return true;
}

void LocalApic::accept_init() {
  init_pending_ = true;
  nmi_pending_ = false;
  startup_.reset();
  state_ = bootstrap_ ? ProcessorState::kRunning : ProcessorState::kWaitForSipi;
}

bool LocalApic::trigger(Lvt source) {
  const std::uint32_t entry = lvt(source);
  if (mode() == Mode::kDisabled || (entry & apic::kLvtMasked) != 0) return false;
  // SDM Vol. 3, 11.5.1: the handler of a performance interrupt has to unmask it.
  if (source == Lvt::kPerformance) lvt(source) |= apic::kLvtMasked;
  // The timer's and the error's entries have no such field.
  constexpr std::uint32_t kExtInt = 7;
  const bool has_mode = source != Lvt::kTimer && source != Lvt::kError;
  const std::uint32_t mode = has_mode ? (entry >> apic::kDeliveryModeShift) & apic::kDeliveryModeMask : 0;
  if (mode == kExtInt || mode == 3) return false;
  const auto delivery = static_cast<DeliveryMode>(mode);
  if (delivery == DeliveryMode::kStartup || delivery == DeliveryMode::kLowestPriority) return false;  // Reserved here.
  return accept({.mode = delivery, .vector = static_cast<std::uint8_t>(entry)});
}

// An interrupt for the first error after ESR was last written, which arms it again (SDM Vol. 3, 11.5.3).
void LocalApic::raise_error(std::uint32_t bits) {
  const bool armed = errors_ == 0;
  errors_ |= bits;
  if (!armed) return;
  const std::uint32_t entry = lvt(Lvt::kError);
  const auto vector = static_cast<std::uint8_t>(entry);
  if ((entry & apic::kLvtMasked) != 0) return;
  if (vector < apic::kFirstLegalVector) {
    errors_ |= apic::kEsrReceiveIllegalVector;
  } else {
    trigger(Lvt::kError);
  }
}

std::optional<std::uint8_t> LocalApic::deliverable() const {
  const auto highest = irr_.highest();
  if (!highest || (*highest >> 4) <= (ppr() >> 4)) return std::nullopt;
  return highest;
}

std::uint8_t LocalApic::acknowledge() {
  const auto vector = deliverable();
  if (!vector) return static_cast<std::uint8_t>(svr_);
  irr_.clear(*vector);
  isr_.set(*vector);
  return *vector;
}

void LocalApic::withdraw(std::uint8_t vector) {
  if (!isr_.contains(vector)) return;
  isr_.clear(vector);
  irr_.set(vector);
}

bool LocalApic::take_nmi() { return std::exchange(nmi_pending_, false); }

bool LocalApic::take_init() {
  if (!std::exchange(init_pending_, false)) return false;
  init_reset();
  return true;
}

std::optional<std::uint8_t> LocalApic::take_startup() {
  if (init_pending_ || !startup_) return std::nullopt;
  state_ = ProcessorState::kRunning;
  return std::exchange(startup_, std::nullopt);
}

}  // namespace panicroom::kvm
