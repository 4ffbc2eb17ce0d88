// The local APIC's registers as the guest reads and writes them: the xAPIC's page, and MSRs.
#include <utility>

#include "hypervisor/kvm/apic/local_apic.h"

namespace panicroom::kvm {
namespace {

using namespace apic;  // NOLINT(google-build-using-namespace): names of registers, nothing else.

std::optional<Lvt> lvt_at(std::uint32_t offset) {
  switch (offset) {
    case kLvtTimer:
      return Lvt::kTimer;
    case kLvtThermal:
      return Lvt::kThermal;
    case kLvtPerformance:
      return Lvt::kPerformance;
    case kLvtLint0:
      return Lvt::kLint0;
    case kLvtLint1:
      return Lvt::kLint1;
    case kLvtError:
      return Lvt::kError;
    default:
      return std::nullopt;
  }
}

std::uint32_t lvt_writable(Lvt entry) {
  switch (entry) {
    case Lvt::kTimer:
      return kLvtTimerWritable;
    case Lvt::kThermal:
    case Lvt::kPerformance:
      return kLvtThermalWritable;
    case Lvt::kLint0:
    case Lvt::kLint1:
      return kLvtLintWritable;
    case Lvt::kError:
      return kLvtErrorWritable;
  }
  return 0;
}

// Which of the eight registers, if `offset` is one of the bank's.
std::optional<std::size_t> word_of(std::uint32_t offset, std::uint32_t bank) {
  const std::uint32_t distance = offset - bank;  // Wraps to something large below it.
  if (distance >= VectorSet::kWords * kRegisterStride) return std::nullopt;
  return distance / kRegisterStride;
}

// SDM Vol. 3, table 11-6: what of the page is not in the x2APIC's MSRs, or not to be read there.
bool x2apic_readable(std::uint32_t offset) {
  return offset != kApr && offset != kEoi && offset != kRrd && offset != kDfr && offset != kIcrHigh &&
         offset != kSelfIpi;
}

// The bits that WRMSR may set in x2APIC mode; nothing if it may not write the register at all.
std::optional<std::uint64_t> x2apic_writable(std::uint32_t offset) {
  if (const auto entry = lvt_at(offset)) return lvt_writable(*entry) | kLvtDeliveryStatus | kLvtRemoteIrr;
  switch (offset) {
    case kTpr:
    case kSelfIpi:
      return 0xff;
    case kEoi:
    case kEsr:
      return 0;
    case kSvr:
      return kSvrWritable;
    case kIcrLow:
      return ~kX2apicIcrReserved;
    case kInitialCount:
      return 0xffff'ffff;
    case kDivideConfiguration:
      return kDivideWritable;
    default:
      return std::nullopt;
  }
}

}  // namespace

// What both modes may have; the modes' own functions have weeded out what is not theirs. Nothing: no such register.
std::optional<std::uint32_t> LocalApic::value_of(std::uint32_t offset, Now now) const {
  if (offset % kRegisterStride != 0) return std::nullopt;
  if (const auto entry = lvt_at(offset)) return lvt(*entry);
  if (const auto word = word_of(offset, kIsr)) return isr_.word(*word);
  if (const auto word = word_of(offset, kTmr)) return tmr_.word(*word);
  if (const auto word = word_of(offset, kIrr)) return irr_.word(*word);
  switch (offset) {
    case kId:
      return x2apic() ? id_ : id_ << kXapicIdShift;
    case kVersion:
      return kVersionValue;
    case kTpr:
      return tpr_;
    case kApr:
    case kEoi:
    case kRrd:
      return 0;
    case kPpr:
      return ppr();
    case kLdr:
      return x2apic() ? logical_id() : ldr_;
    case kDfr:
      return dfr_;
    case kSvr:
      return svr_;
    case kEsr:
      return esr_;
    case kIcrLow:
      return icr_low_;
    case kIcrHigh:
      return icr_high_;
    case kInitialCount:
      return timer_.initial_count();
    case kCurrentCount:
      return timer_.current_count(now);
    case kDivideConfiguration:
      return timer_.divide_configuration();
    default:
      return std::nullopt;
  }
}

// False: no such register. What is read-only stays as it is.
bool LocalApic::store(std::uint32_t offset, std::uint32_t value, Now now, Effects& effects) {
  if (const auto entry = lvt_at(offset)) {
    store_lvt(*entry, value);
    return true;
  }
  switch (offset) {
    case kTpr:
      tpr_ = static_cast<std::uint8_t>(value);
      return true;
    case kEoi:
      effects.eoi_vector = end_of_interrupt();
      return true;
    case kLdr:
      ldr_ = value & kLdrWritable;
      return true;
    case kDfr:
      dfr_ = value | ~kDfrWritable;
      return true;
    case kSvr:
      store_svr(value);
      return true;
    case kEsr:
      esr_ = std::exchange(errors_, 0);
      return true;
    case kIcrLow:
      icr_low_ = value & kIcrLowWritable;
      effects.icr = send();
      return true;
    case kIcrHigh:
      icr_high_ = value & kIcrHighWritable;
      return true;
    case kInitialCount:
      timer_.set_initial_count(value, now);
      return true;
    case kDivideConfiguration:
      timer_.set_divide_configuration(value, now);
      return true;
    default:
      return value_of(offset, now).has_value();
  }
}

void LocalApic::store_svr(std::uint32_t value) {
  svr_ = value & kSvrWritable;
  if ((svr_ & kSvrEnable) != 0) return;
  // SDM Vol. 3, 11.4.7.2.
  for (std::uint32_t& entry : lvt_) entry |= kLvtMasked;
}

void LocalApic::store_lvt(Lvt entry, std::uint32_t value) {
  value &= lvt_writable(entry);
  if ((svr_ & kSvrEnable) == 0) value |= kLvtMasked;
  lvt(entry) = value;
  if (entry == Lvt::kTimer) timer_.set_mode(static_cast<ApicTimer::Mode>((value >> kLvtTimerModeShift) & 3));
}

std::optional<IcrCommand> LocalApic::send() {
  const auto command = decode_icr(icr_low_, icr_high_, x2apic());
  return command ? checked(*command) : std::nullopt;
}

std::optional<IcrCommand> LocalApic::checked(const IcrCommand& command) {
  const bool has_vector = command.mode == DeliveryMode::kFixed || command.mode == DeliveryMode::kLowestPriority;
  if (!has_vector || command.vector >= kFirstLegalVector) return command;
  raise_error(kEsrSendIllegalVector);
  return std::nullopt;
}

std::optional<std::uint8_t> LocalApic::end_of_interrupt() {
  const auto vector = isr_.highest();
  if (!vector) return std::nullopt;
  isr_.clear(*vector);
  return tmr_.contains(*vector) ? vector : std::nullopt;
}

std::uint32_t LocalApic::read(std::uint32_t offset, Now now) {
  if (mode() != Mode::kXapic) return 0xffff'ffff;
  advance(now);
  const auto value = value_of(offset, now);
  if (!value) raise_error(kEsrIllegalRegister);
  return value.value_or(0);
}

Effects LocalApic::write(std::uint32_t offset, std::uint32_t value, Now now) {
  Effects effects;
  if (mode() != Mode::kXapic) return effects;
  advance(now);
  if (!store(offset, value, now, effects)) raise_error(kEsrIllegalRegister);
  return effects;
}

bool LocalApic::owns_msr(std::uint32_t msr) {
  return msr == kMsrApicBase || msr == kMsrTscDeadline || (msr >= kX2apicMsrs && msr < kX2apicMsrsEnd);
}

std::optional<std::uint64_t> LocalApic::read_msr(std::uint32_t msr, Now now) {
  advance(now);
  if (msr == kMsrApicBase) return apic_base_;
  if (msr == kMsrTscDeadline) return timer_.deadline();
  if (!owns_msr(msr) || !x2apic()) return std::nullopt;
  const std::uint32_t offset = (msr - kX2apicMsrs) * kRegisterStride;
  if (!x2apic_readable(offset)) return std::nullopt;
  const auto value = value_of(offset, now);
  if (value && offset == kIcrLow) return (std::uint64_t{icr_high_} << 32) | *value;
  return value;
}

std::optional<Effects> LocalApic::write_msr(std::uint32_t msr, std::uint64_t value, Now now) {
  Effects effects;
  advance(now);
  if (msr == kMsrApicBase) return store_apic_base(value) ? std::optional(effects) : std::nullopt;
  if (msr == kMsrTscDeadline) {
    timer_.set_deadline(value);
    advance(now);
    return effects;
  }
  if (!owns_msr(msr) || !x2apic()) return std::nullopt;
  const std::uint32_t offset = (msr - kX2apicMsrs) * kRegisterStride;
  const auto writable = x2apic_writable(offset);
  if (!writable || (value & ~*writable) != 0) return std::nullopt;
  const auto low = static_cast<std::uint32_t>(value);
  if (offset == kSelfIpi) {
    effects.icr = checked({.vector = static_cast<std::uint8_t>(low), .shorthand = Shorthand::kSelf});
    return effects;
  }
  if (offset == kIcrLow) icr_high_ = static_cast<std::uint32_t>(value >> 32);
  if (!store(offset, low, now, effects)) return std::nullopt;
  return effects;
}

// SDM Vol. 3, figure 11-27 and table 11-5: on to x2APIC mode only from xAPIC mode, and back only by way of disabled.
bool LocalApic::store_apic_base(std::uint64_t value) {
  constexpr std::uint64_t kDefined = kApicBaseBootstrap | kApicBaseX2apic | kApicBaseEnable | kApicBaseAddress;
  if ((value & ~kDefined) != 0) return false;
  const bool enable = (value & kApicBaseEnable) != 0;
  const bool extend = (value & kApicBaseX2apic) != 0;
  if (extend && (!enable || mode() == Mode::kDisabled)) return false;
  if (enable && !extend && x2apic()) return false;
  const Mode before = mode();
  // Which processor is the bootstrap one is not the guest's to say.
  apic_base_ = (value & ~kApicBaseBootstrap) | (bootstrap_ ? kApicBaseBootstrap : 0);
  if (!enable && before != Mode::kDisabled) init_reset();
  // The ICR's two halves have become one (11.12.9), with another format.
  if (mode() == Mode::kX2apic && before != Mode::kX2apic) icr_high_ = 0;
  return true;
}

}  // namespace panicroom::kvm
