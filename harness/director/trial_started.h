// The first event of a trial: what is known before the machine runs.
#pragma once

#include "harness/director/trial.h"
#include "panicroom/v1/events.pb.h"

namespace panicroom::harness {

v1::Event trial_started(const TrialSetup& setup);

}  // namespace panicroom::harness
