// How long a trial may take: its scenario's timeout, and what the host owes it on top.
//
// A guest's time goes by the host's clock. A host that is out of CPUs takes from it, and a guest that got no CPU must
// not be called hung. So the time in which the guest was ready to run and did not is given back. Pure bookkeeping: who
// measures that time calls.
#pragma once

#include <algorithm>
#include <chrono>

#include "hypervisor/machine.h"

namespace panicroom::harness {

class TimeAllowance {
 public:
  using Clock = hypervisor::Clock;

  // `timeout`: as long as the engine's pace allows (hypervisor::GuestPace), and everything that is counted in timeouts
  // with it. `starved`: what the machine had been starved for already when the trial began.
  TimeAllowance(Clock::time_point start, Clock::duration timeout, Clock::duration starved)
      : start_(start), timeout_(timeout), limit_(start + timeout), starved_(starved) {}

  // When the trial's time is up, as far as is known.
  [[nodiscard]] Clock::time_point limit() const { return limit_; }
  // Time in which panicroom itself did not run.
  void give_back(Clock::duration lost) {
    limit_ += lost;
    given_ += lost;
  }
  // Time in which the machine stood still because somebody wanted it to: it is no part of the trial.
  void stood_still(Clock::duration time) {
    start_ += time;
    limit_ += time;
  }
  // What the machine has been starved for by now (see hypervisor::Machine::starved()); a value that went down counts
  // as no more than before.
  void set_starved(Clock::duration starved) {
    if (starved <= starved_) return;
    give_back(starved - starved_);
    starved_ = starved;
  }
  // A trial that is seen to be at work gets until `until`.
  void extend(Clock::time_point until) { limit_ = std::max(limit_, until); }

  // How much of its own time, without what was given back, the trial has had.
  [[nodiscard]] Clock::duration had(Clock::time_point now) const { return now - start_ - given_; }
  // At work for longer than any timeout that was meant.
  [[nodiscard]] bool stretched_too_far(Clock::time_point now) const { return had(now) >= kMaxStretch * timeout_; }
  // The host has taken so much that nothing can be said of the guest.
  [[nodiscard]] bool host_is_too_slow() const { return given_ >= kMaxGiven * timeout_; }
  [[nodiscard]] Clock::duration given() const { return given_; }

  static constexpr int kMaxStretch = 3;  // Timeouts.
  static constexpr int kMaxGiven = 9;    // Timeouts: a guest that gets a tenth of a CPU.

 private:
  Clock::time_point start_;
  Clock::duration timeout_;
  Clock::time_point limit_;
  Clock::duration starved_;
  Clock::duration given_{};
};

}  // namespace panicroom::harness
