// A run as a page for people: one HTML file with everything in it, which needs no network and opens from the disk.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "harness/page/page_data.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// The page's name in a run's --out folder.
inline constexpr const char* kPageFile = "report.html";

// `folder` is the run's --out folder, where each trial's events are read from. The page draws itself with a script of
// its own; all that comes from guests and files is data to that script, and its Content-Security-Policy lets nothing
// else run and nothing be fetched. kHost if the host gives no random bytes.
Result<std::string> report_page(const v1::Report& report, const std::filesystem::path& folder,
                                const PageLimits& limits = {});

}  // namespace panicroom::harness
