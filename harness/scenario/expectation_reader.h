// The `expect:` of a scenario, and whether it can be met at all.
#pragma once

#include <set>
#include <vector>

#include "harness/scenario/diagnostic.h"
#include "harness/scenario/scenario.h"
#include "harness/scenario/timeline_reader.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::harness {

// What a scenario expects, by kernel, and where the rows of the list stand that decide on some kernel (for a map, its
// own place). Reports what is wrong in itself, what contradicts the machine or the timeline, and kernels that `allowed`
// lets pass and no row is about.
struct ReadExpectations {
  std::vector<KernelExpectation> rows;
  std::set<Position> deciding;
};
ReadExpectations read_expectations(const YamlNode& node, std::uint32_t vcpus, const std::vector<ReadStep>& timeline,
                                   const KernelRange& allowed, Diagnostics& diagnostics);

}  // namespace panicroom::harness
