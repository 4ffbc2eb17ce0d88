// What an event means for the report's entry of its trial. The report is made of events by this and nothing else, so
// the two cannot disagree; and the entry of a run that was killed can be made again from what its events.jsonl holds.
#pragma once

#include <string>

#include "panicroom/v1/events.pb.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// A guest that does nothing but send IPIs must not fill the host's memory: a run keeps so many.
inline constexpr int kMaxIpis = 10'000;

// Events of kinds that leave no trace in the report change nothing; so do those that name a step that is not there.
void apply(const v1::Event& event, v1::Run& run);

// The name of the stage that the event is ("stopped-by-nmi", "injected"), empty if it is none.
std::string stage_name(const v1::Event& event);

// True if a stage of that name has been reached by that vCPU already: a stage is named once for each.
bool has_stage(const v1::Run& run, const std::string& name, std::int32_t cpu);

}  // namespace panicroom::harness
