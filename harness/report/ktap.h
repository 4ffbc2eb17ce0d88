// The report as KTAP version 1, the kernel's own test output (Documentation/dev-tools/ktap.rst): one test a kernel
// release and engine, with one subtest a run.
#pragma once

#include <string>

#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// fail and error are both `not ok`; the diagnostic lines before the result say which and why. KTAP has no escape for
// '#' in a description, which ends it: it is written \x23.
std::string report_to_ktap(const v1::Report& report);

}  // namespace panicroom::harness
