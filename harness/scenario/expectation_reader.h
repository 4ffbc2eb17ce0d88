// The `expect:` of a scenario, and whether it can be met at all.
#pragma once

#include <vector>

#include "harness/scenario/diagnostic.h"
#include "harness/scenario/scenario.h"
#include "harness/scenario/timeline_reader.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::harness {

// Reports what is wrong in itself and what contradicts the machine or the timeline.
Expectation read_expectation(const YamlNode& node, std::uint32_t vcpus, const std::vector<ReadStep>& timeline,
                             Diagnostics& diagnostics);

}  // namespace panicroom::harness
