// Reports for this folder's tests.
#pragma once

#include <cstdint>

#include "panicroom/v1/report.pb.h"

namespace panicroom::harness::sample {

// A run with the given scenario and verdict, on 6.1.0-56-cloud-amd64 and qemu (tcg), that took 2.5 s.
v1::Run run(const std::string& scenario, v1::Verdict verdict, v1::Outcome outcome);

// The seed's race going wrong: CPU 0 was stopped by CPU 1, the last step was not reached.
v1::Run failed_run();

// One run of each verdict.
v1::Report report();

}  // namespace panicroom::harness::sample
