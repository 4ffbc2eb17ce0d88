// The rules by which IPIs are delivered, and how often each has decided: what an engine asks about every IPI.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "hypervisor/ipi.h"

namespace panicroom::hypervisor {

class IpiPolicy {
 public:
  IpiPolicy() = default;
  explicit IpiPolicy(const std::vector<IpiRule>& rules);

  // A rule that is not active matches nothing. All are, at first. What it has counted stays. No such rule: nothing.
  void set_active(std::size_t rule, bool active);

  // The rule that decides for this target, by its place in the list; nothing: as sent. `vector` is without meaning for
  // an NMI, and no rule about vectors speaks of one.
  [[nodiscard]] std::optional<std::size_t> deciding(DeliveryMode mode, std::uint8_t vector, VcpuId source,
                                                    VcpuId target) const;
  [[nodiscard]] const IpiRule& rule(std::size_t index) const { return entries_[index].rule; }

  // An IPI has been sent for whose targets these rules decided: each of them counts it once.
  void count(std::span<const std::optional<std::size_t>> decided);

 private:
  struct Entry {
    IpiRule rule;
    bool active = true;
    std::uint32_t counted = 0;
  };
  std::vector<Entry> entries_;
};

}  // namespace panicroom::hypervisor
