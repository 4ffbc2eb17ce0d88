#include <fmt/core.h>

#include <cstdio>

#include "harness/cli/commands.h"
#include "harness/scenario/parser.h"

namespace panicroom::cli {

int check(const std::vector<std::filesystem::path>& scenarios) {
  const auto parsed = harness::load(scenarios);
  if (!parsed.diagnostics.empty()) {
    fmt::print(stderr, "{}", harness::render(parsed.diagnostics));
    return kWrongInput;
  }
  fmt::print("{} scenario{}, no mistakes\n", parsed.scenarios.size(), parsed.scenarios.size() == 1 ? "" : "s");
  return kSuccess;
}

}  // namespace panicroom::cli
