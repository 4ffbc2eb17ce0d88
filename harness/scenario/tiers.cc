#include "harness/scenario/tiers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/spelling.h"
#include "harness/scenario/diagnostic.h"

namespace panicroom::harness {
namespace {

std::string tier_of(const Scenario& scenario) {
  return scenario.tier.empty() ? std::string(kDefaultTier) : scenario.tier;
}

}  // namespace

std::map<std::string, std::size_t> count_tiers(std::span<const Scenario> scenarios) {
  std::map<std::string, std::size_t> tiers;
  for (const Scenario& scenario : scenarios) ++tiers[tier_of(scenario)];
  return tiers;
}

std::string to_text(const std::map<std::string, std::size_t>& tiers) {
  std::string text;
  for (const auto& [tier, count] : tiers) {
    text += fmt::format("{}{} of tier {}", text.empty() ? "" : ", ", count, tier);
  }
  return text;
}

Result<TierSelection> select_tiers(std::vector<Scenario> scenarios, std::span<const std::string> tiers) {
  const auto known = count_tiers(scenarios);
  std::vector<std::string_view> names = {kAllTiers};
  for (const auto& [tier, count] : known) names.push_back(tier);
  for (const std::string& tier : tiers) {
    if (std::ranges::find(names, tier) != names.end()) continue;
    return invalid_input("--tier: no scenario is of the tier {}{}; there are {}", shown(tier),
                         did_you_mean(tier, names), to_text(known));
  }
  const auto wanted = [&](const Scenario& scenario) {
    if (scenario.file_named) return true;
    if (tiers.empty()) return scenario.tier.empty();
    return std::ranges::any_of(tiers, [&](const auto& tier) { return tier == kAllTiers || tier == tier_of(scenario); });
  };
  TierSelection selection;
  for (Scenario& scenario : scenarios) {
    if (wanted(scenario)) {
      selection.scenarios.push_back(std::move(scenario));
    } else {
      ++selection.left_out[tier_of(scenario)];
    }
  }
  if (selection.scenarios.empty()) {
    return invalid_input("nothing to run: {}; name the files themselves or use --tier", to_text(selection.left_out));
  }
  return selection;
}

}  // namespace panicroom::harness
