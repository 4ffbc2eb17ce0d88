// What was seen of an outcome's cause, in words to be put behind the sentence that names the outcome.
#pragma once

#include <string>

#include "harness/observer/stage_observer.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// Behind "the machine was reset": who began it, and from where.
std::string cause_of_reset(const StageObserver& observer, const v1::Run& run);
// Empty if nothing is known.
std::string why_not_dumped(const StageObserver& observer);
// Which CPUs get no further NMI, by the run's places; empty if nobody is in one.
std::string who_is_in_an_nmi(const v1::Run& run);

}  // namespace panicroom::harness
