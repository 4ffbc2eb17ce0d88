// The IPIs that the guest sent while nobody watched: the newest of them, and how many older ones were lost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <utility>

#include "hypervisor/machine.h"

namespace panicroom::kvm {

class IpiRecord {
 public:
  static constexpr std::size_t kCapacity = 65536;

  void add(hypervisor::UnwatchedIpis::Sent ipi) {
    if (ipis_.size() == kCapacity) {
      ipis_.pop_front();
      ++lost_;
    }
    ipis_.push_back(std::move(ipi));
  }
  // Empty behind this.
  hypervisor::UnwatchedIpis take() {
    hypervisor::UnwatchedIpis taken{
        .sent = {std::make_move_iterator(ipis_.begin()), std::make_move_iterator(ipis_.end())},
        .lost = std::exchange(lost_, 0)};
    ipis_.clear();
    return taken;
  }
  [[nodiscard]] std::size_t size() const { return ipis_.size(); }

 private:
  std::deque<hypervisor::UnwatchedIpis::Sent> ipis_;
  std::uint64_t lost_ = 0;
};

}  // namespace panicroom::kvm
