#include <fmt/core.h>

#include <cstdio>

#include "harness/cli/commands.h"
#include "harness/scenario/parser.h"
#include "harness/scenario/selection.h"

namespace panicroom::cli {

int check(const std::vector<std::filesystem::path>& scenarios) {
  const auto parsed = harness::load(scenarios);
  if (!parsed.diagnostics.empty()) {
    fmt::print(stderr, "{}", harness::render(parsed.diagnostics));
    return kWrongInput;
  }
  const auto tiers = harness::count_tiers(parsed.scenarios);
  const bool several = tiers.size() > 1 || !tiers.contains(std::string(harness::kDefaultTier));
  fmt::print("{} scenario{}{}, no mistakes\n", parsed.scenarios.size(), parsed.scenarios.size() == 1 ? "" : "s",
             several ? fmt::format(" ({})", harness::to_text(tiers)) : "");
  return kSuccess;
}

}  // namespace panicroom::cli
