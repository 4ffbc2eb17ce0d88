// Tells from the agent's heartbeats that the kernel under test goes on working.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "agent/protocol/agent.pb.h"
#include "hypervisor/guest_pace.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

class Heartbeats {
 public:
  explicit Heartbeats(hypervisor::GuestPace pace = {}) : pace_(pace) {}

  // `counts`: nothing is left to be injected, so from now on a working kernel is the outcome.
  void take(const agent::v1::Heartbeat& heartbeat, hypervisor::Clock::time_point now, bool counts);

  // Two seconds of guest time in which every workload that has not ended went on, with no panic.
  [[nodiscard]] bool calm() const { return calm_ >= kCalmHeartbeats; }
  [[nodiscard]] bool seen_lately(hypervisor::Clock::time_point now) const;

 private:
  static constexpr int kCalmHeartbeats = 20;  // The agent sends ten a second.

  hypervisor::GuestPace pace_;
  std::map<std::uint32_t, std::uint64_t> passes_;  // Of each CPU's workload, at the last heartbeat that counted.
  std::optional<hypervisor::Clock::time_point> last_;
  int calm_ = 0;
};

}  // namespace panicroom::harness
