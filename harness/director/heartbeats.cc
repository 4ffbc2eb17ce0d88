#include "harness/director/heartbeats.h"

namespace panicroom::harness {

void Heartbeats::take(const agent::v1::Heartbeat& heartbeat, hypervisor::Clock::time_point now, bool counts) {
  last_ = now;
  if (!counts) {
    calm_ = 0;
    return;
  }
  bool all_went_on = true;
  std::map<std::uint32_t, std::uint64_t> passes;
  for (const auto& workload : heartbeat.workloads()) {
    if (workload.ended()) continue;
    const auto before = passes_.find(workload.cpu());
    if (before != passes_.end() && before->second == workload.passes()) all_went_on = false;
    passes[workload.cpu()] = workload.passes();
  }
  passes_ = std::move(passes);
  calm_ = all_went_on ? calm_ + 1 : 0;
}

bool Heartbeats::seen_lately(hypervisor::Clock::time_point now) const {
  return last_ && now - *last_ < pace_.allow(std::chrono::seconds(5));
}

}  // namespace panicroom::harness
