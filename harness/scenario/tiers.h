// Which of the scenarios that were found are run: those of a tier only when they are asked for.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "harness/scenario/scenario.h"

namespace panicroom::harness {

// The tier of scenarios that name none, and the word for every tier: neither is a name that a scenario can give itself.
inline constexpr std::string_view kDefaultTier = "default";
inline constexpr std::string_view kAllTiers = "all";

struct TierSelection {
  std::vector<Scenario> scenarios;              // In their order.
  std::map<std::string, std::size_t> left_out;  // How many of which tier.
};

// How many scenarios there are of which tier.
std::map<std::string, std::size_t> count_tiers(std::span<const Scenario> scenarios);
// "60 of tier seed, 2 of tier slow"
std::string to_text(const std::map<std::string, std::size_t>& tiers);

// Without `tiers`: the default tier. Scenarios whose file was named itself are always selected. kInvalidInput if no
// scenario is of a tier that is asked for, or if none is left.
Result<TierSelection> select_tiers(std::vector<Scenario> scenarios, std::span<const std::string> tiers);

}  // namespace panicroom::harness
