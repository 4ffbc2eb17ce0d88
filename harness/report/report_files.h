// Writes the files that `panicroom run` was asked for, and reads them back.
#pragma once

#include <filesystem>
#include <optional>

#include "base/result.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// The report's name in a run's --out folder.
inline constexpr const char* kReportFile = "report.json";

struct ReportFiles {
  std::optional<std::filesystem::path> json;
  std::optional<std::filesystem::path> junit;
  std::optional<std::filesystem::path> ktap;
};

// Each file is replaced as a whole or not at all. One that cannot be written does not keep the others from being tried;
// the error (kHost) names every file that failed.
Result<> write_report_files(const v1::Report& report, const ReportFiles& files);

// Reads a report's JSON back: a file, or a run's --out folder. kInvalidInput, naming the file, if it cannot be read.
Result<v1::Report> read_report(const std::filesystem::path& file_or_folder);

}  // namespace panicroom::harness
