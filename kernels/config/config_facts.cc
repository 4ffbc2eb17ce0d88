#include "kernels/config/config_facts.h"

namespace panicroom::kernels {
namespace {

bool is_met(Need need, bool enabled) {
  switch (need) {
    case Need::kWanted:
    case Need::kRequired:
      return enabled;
    case Need::kUnwanted:
      return !enabled;
    case Need::kNothing:
      break;
  }
  return true;
}

}  // namespace

std::vector<ConfigFact> config_facts(const KernelConfig& config) {
  std::vector<ConfigFact> facts;
  for (const auto& entry : kConfigFacts) {
    const auto value = config.value(entry.option);
    facts.push_back({&entry, std::string(value.value_or("n")), is_met(entry.need, config.enabled(entry.option))});
  }
  return facts;
}

}  // namespace panicroom::kernels
