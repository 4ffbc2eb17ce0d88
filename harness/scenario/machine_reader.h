// The parts of a scenario that say what is booted: machine, kernel command line, workload, stop-IPI policy,
// requirements.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/scenario/diagnostic.h"
#include "harness/scenario/scenario.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::harness {

// Each returns what could be understood, defaults for the rest, and reports every mistake. `vcpus` is what the machine
// has.
MachineSpec read_machine(const YamlNode& node, Diagnostics& diagnostics);
std::string read_kernel(const YamlNode& node, Diagnostics& diagnostics);
std::vector<std::string> read_workload(const YamlNode& node, std::uint32_t vcpus, Diagnostics& diagnostics);
// `steps`: how many the timeline has.
std::vector<StopIpiRule> read_stop_ipi(const YamlNode& node, std::uint32_t vcpus, std::size_t steps,
                                       Diagnostics& diagnostics);
std::vector<Unfix> read_unfix(const YamlNode& node, Diagnostics& diagnostics);
// `">=5.10"`, `"<6.6"`, or a list of both.
KernelRange read_kernel_range(const YamlNode& node, Diagnostics& diagnostics);
Requirements read_requires(const YamlNode& node, Diagnostics& diagnostics);

// What every CPU does where a scenario says nothing.
inline constexpr std::string_view kDefaultWorkload = "idle";

}  // namespace panicroom::harness
