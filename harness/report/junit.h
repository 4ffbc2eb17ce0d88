// The report as JUnit XML, for CI systems: one testsuite a kernel release and engine, one testcase a run.
#pragma once

#include <string>

#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// fail → <failure>, error → <error>, skip → <skipped>; system-out tells the steps, stages and vCPUs of each run.
std::string report_to_junit(const v1::Report& report);

}  // namespace panicroom::harness
