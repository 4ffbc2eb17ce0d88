// Compares what the guest did with what the scenario expects.
#pragma once

#include <string>

#include "harness/scenario/scenario.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

v1::Outcome to_proto(Outcome outcome);
v1::PanicMessage::State to_proto(MessageState state);

// Fills verdict, expected_outcome and (for a failure) detail of a run whose outcome, steps, dump and panic_message
// stand. Never turns an error or a skip into something else.
void decide_verdict(const Expectation& expectation, v1::Run& run);

// A run that says nothing about the guest: VERDICT_SKIP for kUnsupported, VERDICT_ERROR for every other kind.
void set_undecided(const Error& error, v1::Run& run);

}  // namespace panicroom::harness
