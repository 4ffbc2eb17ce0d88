// Which of the scenarios that were found are run: those that have a tier only when they are asked for.
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

// What is asked for.
struct Selectors {
  std::vector<std::string> tiers;
  std::vector<std::string> names;  // Patterns as fnmatch(3) has them: "seed-one.irq.*".
};

struct Selection {
  std::vector<Scenario> scenarios;              // In their order.
  std::map<std::string, std::size_t> left_out;  // How many of which tier.
};

// How many scenarios there are of which tier.
std::map<std::string, std::size_t> count_tiers(std::span<const Scenario> scenarios);
// "60 of tier seed, 2 of tier slow"
std::string to_text(const std::map<std::string, std::size_t>& tiers);

// Those that one of the names matches, and that are of one of the tiers. Without names every one matches; without
// tiers, what is named runs whatever its tier, and else the default tier. Scenarios whose file was named itself are of
// every tier. kInvalidInput if no scenario is of a tier that is asked for or none matches a name, or if none is left.
Result<Selection> select_scenarios(std::vector<Scenario> scenarios, const Selectors& selectors);

}  // namespace panicroom::harness
