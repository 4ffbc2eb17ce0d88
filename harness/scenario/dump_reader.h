// The key `dump` of a scenario: what becomes of the dump.
#pragma once

#include <optional>

#include "harness/scenario/diagnostic.h"
#include "harness/scenario/scenario.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::harness {

// Nothing if the dump is not saved, or after a mistake. `outcome`: what the scenario expects, if it is known.
std::optional<SaveDump> read_dump(const YamlNode& node, std::optional<Outcome> outcome, Diagnostics& diagnostics);

}  // namespace panicroom::harness
