#include "harness/report/report_files.h"

#include <string>
#include <system_error>

#include "base/file.h"
#include "harness/report/json.h"
#include "harness/report/junit.h"
#include "harness/report/ktap.h"

namespace panicroom::harness {
namespace {

Result<> write_json(const v1::Report& report, const std::filesystem::path& path) {
  const std::string json = TRY_CONTEXT(fmt::format("writing {}", path.native()), report_to_json(report));
  return write_file(path, json);
}

}  // namespace

Result<> write_report_files(const v1::Report& report, const ReportFiles& files) {
  std::string failures;
  const auto note = [&](const Result<>& written) {
    if (!written) failures += (failures.empty() ? "" : "; ") + written.error().message();
  };
  if (files.json) note(write_json(report, *files.json));
  if (files.junit) note(write_file(*files.junit, report_to_junit(report)));
  if (files.ktap) note(write_file(*files.ktap, report_to_ktap(report)));
  if (!failures.empty()) return Error(ErrorKind::kHost, failures);
  return {};
}

Result<v1::Report> read_report(const std::filesystem::path& file_or_folder) {
  std::error_code error;
  const auto file =
      std::filesystem::is_directory(file_or_folder, error) ? file_or_folder / kReportFile : file_or_folder;
  const auto text = read_text_file(file);
  if (!text) return Error(ErrorKind::kInvalidInput, text.error().message());
  return TRY_CONTEXT(file.native(), report_from_json(*text));
}

}  // namespace panicroom::harness
