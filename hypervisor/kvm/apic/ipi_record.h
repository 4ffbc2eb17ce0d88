// Every IPI that the guest sent, watched or not: the newest of them, and how many older ones were dropped.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "hypervisor/ipi.h"

namespace panicroom::kvm {

struct RecordedIpi {
  std::chrono::nanoseconds time{0};  // By the machine's virtual clock.
  hypervisor::Ipi ipi;
};

class IpiRecord {
 public:
  static constexpr std::size_t kCapacity = 65536;

  void add(RecordedIpi ipi) {
    if (ipis_.size() == kCapacity) {
      ipis_.pop_front();
      ++dropped_;
    }
    ipis_.push_back(std::move(ipi));
  }
  // Oldest first.
  [[nodiscard]] const std::deque<RecordedIpi>& ipis() const { return ipis_; }
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  std::deque<RecordedIpi> ipis_;
  std::uint64_t dropped_ = 0;
};

}  // namespace panicroom::kvm
