#include "hypervisor/ipi_policy.h"

#include <algorithm>
#include <utility>

namespace panicroom::hypervisor {
namespace {

bool matches(const IpiRule& rule, DeliveryMode mode, std::uint8_t vector, VcpuId source, VcpuId target) {
  const bool has_vector = mode == DeliveryMode::kFixed || mode == DeliveryMode::kLowestPriority;
  return (!rule.mode || *rule.mode == mode) && (!rule.vector || (has_vector && *rule.vector == vector)) &&
         (!rule.source || *rule.source == source) && (!rule.target || *rule.target == target);
}

}  // namespace

IpiPolicy::IpiPolicy(const std::vector<IpiRule>& rules) {
  entries_.reserve(rules.size());
  for (const IpiRule& rule : rules) entries_.push_back({.rule = rule});
}

void IpiPolicy::set_active(std::size_t rule, bool active) {
  if (rule < entries_.size()) entries_[rule].active = active;
}

std::optional<std::size_t> IpiPolicy::deciding(DeliveryMode mode, std::uint8_t vector, VcpuId source,
                                               VcpuId target) const {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    const bool used_up = entry.rule.count && entry.counted >= *entry.rule.count;
    if (entry.active && !used_up && matches(entry.rule, mode, vector, source, target)) return i;
  }
  return std::nullopt;
}

void IpiPolicy::count(std::span<const std::optional<std::size_t>> decided) {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (std::ranges::find(decided, std::optional(i)) != decided.end()) ++entries_[i].counted;
  }
}

}  // namespace panicroom::hypervisor
