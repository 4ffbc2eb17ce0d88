// What requests say in the words of scenarios: given to the readers of the scenario grammar, so that the same words
// mean the same, are bounded in the same way, and are refused with the same messages.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "harness/scenario/scenario.h"
#include "panicroom/v1/control.pb.h"

namespace panicroom::control {

// One thing that is wrong with `open`.
struct Mistake {
  std::string field;  // Of OpenOperation.
  std::string description;
};

inline constexpr int kMaxStopIpiRules = 64;

// The machine and the kernel's surroundings as a scenario without steps, and what is wrong. The references of kernels
// and the engine are left out. With mistakes the scenario is of no use.
struct OpenedScenario {
  harness::Scenario scenario;
  std::vector<Mistake> mistakes;
};
OpenedScenario read_open(const v1::OpenOperation& open);

// kInvalidInput with everything that is wrong; so are the next.
Result<std::vector<harness::StopIpiRule>> read_stop_ipi(
    const google::protobuf::RepeatedPtrField<v1::ControlStopIpi>& rules, std::uint32_t vcpus);

// As a step that happens where its CPU stands.
Result<harness::Step> read_injection(const v1::InjectOperation& inject, std::uint32_t vcpus);

// An `at:`.
Result<harness::At> read_point(const std::string& text);

// A CPU of a machine that has `vcpus`.
Result<VcpuId> read_cpu(std::uint32_t cpu, std::uint32_t vcpus);

}  // namespace panicroom::control
