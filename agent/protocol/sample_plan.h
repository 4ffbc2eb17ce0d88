// The plan of samples on its way from the host to the capture kernel's agent, and samples on their way back.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/protocol/agent.pb.h"
#include "agent/vmcore/samples.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::agent {

inline constexpr std::string_view kSamplePlanPath = "/etc/panicroom-samples";

// The content of kSamplePlanPath: a serialised panicroom.agent.v1.SamplePlan.
std::vector<std::byte> encode_sample_plan(const vmcore::SamplePlan& plan);
// kInvalidInput if it is none, or asks for more than kMaxSamples of a kind.
Result<vmcore::SamplePlan> decode_sample_plan(Bytes bytes);

v1::Sample to_message(const vmcore::Sample& sample);
// Nothing if it is of a kind that is not known here, or has more or fewer blocks than it has bytes for.
std::optional<vmcore::Sample> from_message(const v1::Sample& message);

// The value of kPagesParameter: "1f2c0,1f2c1", and back. What is no number ends the list.
std::string format_pages(const std::vector<Gpa>& pages);
std::vector<Gpa> parse_pages(std::string_view text);

}  // namespace panicroom::agent
