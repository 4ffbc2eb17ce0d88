// How the report's values are worded for people: outcomes and verdicts as a scenario spells them, times, a run's title.
#pragma once

#include <google/protobuf/duration.pb.h>

#include <cstddef>
#include <string>

#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// "dumped", "dump_incomplete"; "no outcome" for OUTCOME_UNSPECIFIED and for values that this program does not know.
std::string outcome_word(v1::Outcome outcome);
// "pass", "fail", "error", "skip"; "no verdict" for the rest.
std::string verdict_word(v1::Verdict verdict);

// "whole on the console, garbled in the log": what became of a panic's message, as far as it was looked at.
std::string message_words(const v1::PanicMessage& message);

// The verdict as it heads a line: "FAIL" and "ERROR" stand out, and so does the colour if there may be one. Filled up
// to `width` columns.
std::string verdict_label(v1::Verdict verdict, bool colour, std::size_t width = 0);

double seconds(const google::protobuf::Duration& duration);

// What the run ran on: "6.1.0-56-cloud-amd64, qemu (tcg)", with the capture kernel if it is another one. Escaped.
std::string platform(const v1::Run& run);

}  // namespace panicroom::harness
