#include "harness/director/stop_ipi_watch.h"

#include <utility>

namespace panicroom::harness {

Result<> StopIpiWatch::begin(const std::vector<kernels::IcrStoreSite>& sites, const RunningKernel& kernel) {
  std::vector<hypervisor::IcrStore> stores;
  stores.reserve(sites.size());
  for (const auto& site : sites) stores.push_back({kernel.running(site.at), site.value, site.length});
  std::vector<hypervisor::IpiRule> rules;
  rules.reserve(rules_.size());
  for (const StopIpiRule& timed : rules_) rules.push_back(timed.rule);
  TRY(machine_.watch_ipis(stores, std::move(rules)));
  begun_ = true;
  active_.assign(rules_.size(), true);
  return {};
}

Result<> StopIpiWatch::follow(const Driver& driver) {
  if (!begun_) return {};
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const bool active = driver.happened(rules_[i].after_step);
    if (active_[i] == active) continue;
    TRY(machine_.set_ipi_rule_active(i, active));
    active_[i] = active;
  }
  return {};
}

Result<> StopIpiWatch::end() {
  if (begun_) TRY(machine_.unwatch_ipis());
  begun_ = false;
  return {};
}

}  // namespace panicroom::harness
