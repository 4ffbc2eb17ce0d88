// The local APIC's timer (Intel SDM Vol. 3, 11.5.4): it counts; that an LVT entry lets it interrupt is LocalApic's
// part.
//
// A plain copyable value without a clock of its own: whoever asks says what time it is. Its bus runs at 1 GHz, so that
// an undivided tick is a nanosecond of the machine's virtual clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "hypervisor/kvm/apic/interrupt_message.h"

namespace panicroom::kvm {

class ApicTimer {
 public:
  // LVT timer bits 17 and 18. In the reserved mode nothing runs.
  enum class Mode : std::uint8_t { kOneShot = 0, kPeriodic = 1, kTscDeadline = 2, kReserved = 3 };

  // `tsc_khz`: how fast Now::tsc runs.
  explicit ApicTimer(std::uint64_t tsc_khz);
  void reset();

  // Between one-shot and periodic the count goes on; into or out of another mode the timer is disarmed.
  void set_mode(Mode mode);
  [[nodiscard]] Mode mode() const { return mode_; }

  // The divide configuration register; a count under way goes on at the new pace.
  void set_divide_configuration(std::uint32_t value, Now now);
  [[nodiscard]] std::uint32_t divide_configuration() const { return divide_configuration_; }

  // A periodic timer does not end more often than this, whatever a hostile guest asks for: every end costs the host.
  static constexpr std::chrono::nanoseconds kShortestPeriod = std::chrono::microseconds(200);

  // Starts the count, or stops it (0). Without effect in TSC-deadline mode.
  void set_initial_count(std::uint32_t count, Now now);
  [[nodiscard]] std::uint32_t initial_count() const { return initial_count_; }
  [[nodiscard]] std::uint32_t current_count(Now now) const;

  // IA32_TSC_DEADLINE: 0 disarms. Without effect, and 0, in the other modes.
  void set_deadline(std::uint64_t tsc);
  [[nodiscard]] std::uint64_t deadline() const { return deadline_; }

  // When by the virtual clock it comes to its end next; what is overdue, in the past or now.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next(Now now) const;
  // Whether it has come to its end since this was last asked; however often a periodic one did, it is once, and the
  // next time is a whole number of periods after the first.
  bool expire(Now now);

  friend bool operator==(const ApicTimer&, const ApicTimer&) = default;

 private:
  [[nodiscard]] std::uint32_t divisor() const;
  [[nodiscard]] std::chrono::nanoseconds duration(std::uint32_t count) const;
  // Of a whole count in the present mode.
  [[nodiscard]] std::chrono::nanoseconds period() const;

  std::uint64_t tsc_khz_;
  Mode mode_ = Mode::kOneShot;
  std::uint32_t divide_configuration_ = 0;
  std::uint32_t initial_count_ = 0;
  std::optional<std::chrono::nanoseconds> end_;  // Of the count under way.
  std::uint64_t deadline_ = 0;
};

}  // namespace panicroom::kvm
