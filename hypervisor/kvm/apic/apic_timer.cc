#include "hypervisor/kvm/apic/apic_timer.h"

#include <algorithm>

#include "hypervisor/kvm/apic/local_apic_registers.h"

namespace panicroom::kvm {
namespace {

using std::chrono::nanoseconds;

// How long the counter takes for so many ticks, rounded up; a time too long to matter is cut off.
nanoseconds time_for(std::uint64_t ticks, std::uint64_t khz) {
  constexpr std::uint64_t kNsPerMs = 1'000'000;
  constexpr std::uint64_t kLongestMs = 1'000'000'000'000;  // Some thirty years.
  const std::uint64_t ms = std::min(ticks / khz, kLongestMs);
  const std::uint64_t rest = ticks % khz;
  return nanoseconds(static_cast<std::int64_t>(ms * kNsPerMs + (rest * kNsPerMs + khz - 1) / khz));
}

}  // namespace

// The bounds keep the arithmetic above within 64 bits; no counter runs outside them.
ApicTimer::ApicTimer(std::uint64_t tsc_khz)
    : tsc_khz_(std::clamp<std::uint64_t>(tsc_khz, 1, std::uint64_t{1'000'000'000})) {}

void ApicTimer::reset() { *this = ApicTimer(tsc_khz_); }

void ApicTimer::set_mode(Mode mode) {
  const auto counts = [](Mode of) { return of == Mode::kOneShot || of == Mode::kPeriodic; };
  if (mode != mode_ && !(counts(mode) && counts(mode_))) {
    end_.reset();
    initial_count_ = 0;
    deadline_ = 0;
  }
  mode_ = mode;
}

// SDM Vol. 3, figure 11-10: bits 0, 1 and 3 are a power of two, less one, modulo 8.
std::uint32_t ApicTimer::divisor() const {
  const std::uint32_t bits = (divide_configuration_ & 3) | ((divide_configuration_ & 8) >> 1);
  return 1U << ((bits + 1) & 7);
}

nanoseconds ApicTimer::duration(std::uint32_t count) const {
  return nanoseconds(static_cast<std::int64_t>(std::uint64_t{count} * divisor()));
}

nanoseconds ApicTimer::period() const {
  const nanoseconds asked_for = duration(initial_count_);
  return mode_ == Mode::kPeriodic ? std::max(asked_for, kShortestPeriod) : asked_for;
}

void ApicTimer::set_divide_configuration(std::uint32_t value, Now now) {
  const std::uint32_t left = current_count(now);
  divide_configuration_ = value & apic::kDivideWritable;
  if (end_) end_ = now.clock + duration(left);
}

void ApicTimer::set_initial_count(std::uint32_t count, Now now) {
  if (mode_ != Mode::kOneShot && mode_ != Mode::kPeriodic) return;
  initial_count_ = count;
  end_.reset();
  if (count != 0) end_ = now.clock + period();
}

std::uint32_t ApicTimer::current_count(Now now) const {
  if (!end_ || now.clock >= *end_) return 0;
  const auto left = static_cast<std::uint64_t>((*end_ - now.clock).count());
  const std::uint64_t count = (left + divisor() - 1) / divisor();
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(count, initial_count_));
}

void ApicTimer::set_deadline(std::uint64_t tsc) {
  if (mode_ == Mode::kTscDeadline) deadline_ = tsc;
}

std::optional<nanoseconds> ApicTimer::next(Now now) const {
  if (mode_ != Mode::kTscDeadline) return end_;
  if (deadline_ == 0) return std::nullopt;
  return deadline_ <= now.tsc ? now.clock : now.clock + time_for(deadline_ - now.tsc, tsc_khz_);
}

bool ApicTimer::expire(Now now) {
  if (mode_ == Mode::kTscDeadline) {
    if (deadline_ == 0 || now.tsc < deadline_) return false;
    deadline_ = 0;
    return true;
  }
  if (!end_ || now.clock < *end_) return false;
  if (mode_ == Mode::kPeriodic) {
    *end_ += period() * ((now.clock - *end_) / period() + 1);
  } else {
    end_.reset();
  }
  return true;
}

}  // namespace panicroom::kvm
