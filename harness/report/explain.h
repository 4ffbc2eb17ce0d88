// A run in words: what was expected, what happened, the step that was not reached, who stopped whom, where each vCPU
// was. The terminal, JUnit and KTAP show the same lines. Everything returned is escaped (untrusted_text.h), one line
// each.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// Why the verdict is not a pass. `out` is the folder that the run's artifacts are relative to; empty leaves them
// relative.
std::vector<std::string> explain(const v1::Run& run, const std::filesystem::path& out = {});

// What is known of any run, a pass too: its steps, stages and vCPUs.
std::vector<std::string> narrate(const v1::Run& run);

// The detail's first line, shortened, for where there is room for one line only; the outcome if there is no detail.
std::string reason(const v1::Run& run);

}  // namespace panicroom::harness
