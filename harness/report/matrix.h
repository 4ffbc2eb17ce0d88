// The table of a run on several kernels: a row for each kernel, a column for each scenario, what happened in the cells.
#pragma once

#include <string>

#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// Whole lines, each ending in a newline; empty if the report is about fewer than two kernels. Failures and errors are
// marked FAIL and ERROR, with or without colour; repeated trials are counted: "20/20 dumped", "FAIL 18/20 dumped, 2
// reset". "-" is a scenario that was not run there. Where the scenarios' names would make the table wider than 120
// columns they are numbered, and listed below. Names from files are escaped.
std::string matrix(const v1::Report& report, bool colour);

}  // namespace panicroom::harness
