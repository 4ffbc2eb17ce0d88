#include "harness/scenario/selection.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <utility>

#include "base/spelling.h"
#include "harness/scenario/diagnostic.h"

namespace panicroom::harness {
namespace {

std::string tier_of(const Scenario& scenario) {
  return scenario.tier.empty() ? std::string(kDefaultTier) : scenario.tier;
}

bool matches(const std::string& pattern, const Scenario& scenario) {
  return fnmatch(pattern.c_str(), scenario.name.c_str(), 0) == 0;
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

Result<Selection> select_scenarios(std::vector<Scenario> scenarios, const Selectors& selectors) {
  const auto known = count_tiers(scenarios);
  std::vector<std::string_view> tiers = {kAllTiers};
  for (const auto& [tier, count] : known) tiers.push_back(tier);
  for (const std::string& tier : selectors.tiers) {
    if (std::ranges::find(tiers, tier) != tiers.end()) continue;
    return invalid_input("--tier: no scenario is of the tier {}{}; there are {}", shown(tier),
                         did_you_mean(tier, tiers), to_text(known));
  }
  std::vector<std::string_view> names;
  names.reserve(scenarios.size());
  for (const Scenario& scenario : scenarios) names.push_back(scenario.name);
  for (const std::string& pattern : selectors.names) {
    if (std::ranges::any_of(scenarios, [&](const auto& scenario) { return matches(pattern, scenario); })) continue;
    return invalid_input("--name: no scenario's name matches {}{}", shown(pattern), did_you_mean(pattern, names));
  }
  const auto wanted = [&](const Scenario& scenario) {
    const auto& [of_tiers, named] = selectors;
    if (!named.empty() &&
        std::ranges::none_of(named, [&](const auto& pattern) { return matches(pattern, scenario); })) {
      return false;
    }
    if (scenario.file_named) return true;
    if (of_tiers.empty()) return !named.empty() || scenario.tier.empty();
    return std::ranges::any_of(of_tiers,
                               [&](const auto& tier) { return tier == kAllTiers || tier == tier_of(scenario); });
  };
  Selection selection;
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
