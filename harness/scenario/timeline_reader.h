// The `timeline:` of a scenario: its steps as typed values, and whether they can follow one another at all.
#pragma once

#include <optional>
#include <vector>

#include "harness/scenario/diagnostic.h"
#include "harness/scenario/scenario.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::harness {

// What could be understood of one step, and where it stands.
struct ReadStep {
  std::uint32_t number = 0;
  std::optional<VcpuId> cpu = {};
  std::optional<At> at = {};          // Nothing if its spelling is wrong; Here if it is left out.
  std::optional<Action> action = {};  // Nothing if it or its details are wrong.
  std::string action_word = {};       // As written: "hold", even if its details are wrong.
  std::optional<Wait> after = {};
  std::uint32_t hit = 1;
  bool alone = false;
  Position step_at = {}, at_at = {}, action_at = {}, alone_at = {};
};

// Reports every mistake of every step; `vcpus` is what the machine has. Steps that cannot be understood are in the
// result all the same, for check_order().
std::vector<ReadStep> read_timeline(const YamlNode& node, std::uint32_t vcpus, Diagnostics& diagnostics);

// Reports steps that can never happen because of those before them: a held CPU executes nothing, a CPU that panicked
// never passes its workload again. Says nothing about a CPU that a step of unknown meaning may have touched.
void check_order(const std::vector<ReadStep>& steps, std::uint32_t vcpus, Diagnostics& diagnostics);

// The typed step; only for one that was understood in full.
Step to_step(const ReadStep& step);

}  // namespace panicroom::harness
