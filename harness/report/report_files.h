// Writes the files that `panicroom run` was asked for.
#pragma once

#include <filesystem>
#include <optional>

#include "base/result.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

struct ReportFiles {
  std::optional<std::filesystem::path> json;
  std::optional<std::filesystem::path> junit;
  std::optional<std::filesystem::path> ktap;
};

// Each file is replaced as a whole or not at all. One that cannot be written does not keep the others from being tried;
// the error (kHost) names every file that failed.
Result<> write_report_files(const v1::Report& report, const ReportFiles& files);

}  // namespace panicroom::harness
