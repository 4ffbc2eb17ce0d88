#include "tests/command_line.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "base/file.h"
#include "harness/report/json.h"

namespace panicroom::tests {

std::optional<std::filesystem::path> test_kernel() {
  const char* const path = std::getenv("PANICROOM_TEST_KERNEL");
  if (path == nullptr || *path == '\0') return std::nullopt;
  return path;
}

std::string no_kernel() {
  const char* const reason = std::getenv("PANICROOM_TEST_KERNEL_MISSING");
  if (reason != nullptr) return fmt::format("there is no kernel to test with: {}", reason);
  return "PANICROOM_TEST_KERNEL names no kernel image (./panicroom test fetches one)";
}

std::filesystem::path catalogue() { return PANICROOM_SCENARIOS; }

std::string program() { return PANICROOM_PROGRAM; }

std::filesystem::path Scratch::file(const std::string& name, std::string_view content) const {
  auto file = path() / name;
  const auto written = write_file(file, content);
  EXPECT_TRUE(written) << written.error().message();
  return file;
}

CommandResult panicroom(const std::vector<std::string>& arguments,
                        const std::map<std::string, std::string>& environment) {
  std::vector<std::string> argv = {program()};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const auto output = run_process(argv, environment);
  if (!output) {
    ADD_FAILURE() << output.error().message();
    return {};
  }
  return {.status = output->exit_status, .out = output->out, .err = output->err, .report = {}};
}

CommandResult run_scenarios(const Scratch& scratch, std::vector<std::string> arguments) {
  const auto out = scratch.path() / "out";
  arguments.insert(arguments.begin(), "run");
  arguments.insert(arguments.end(), {"--kernel", test_kernel().value().native(), "--out", out.native()});
  auto result = panicroom(arguments);
  if (const auto text = read_text_file(out / "report.json")) {
    const auto report = harness::report_from_json(*text);
    EXPECT_TRUE(report) << report.error().message();
    if (report) result.report = *report;
  }
  return result;
}

std::size_t processes_with(const std::string& text) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto cmdline = read_text_file(entry.path() / "cmdline");
    if (cmdline && cmdline->find(text) != std::string::npos) ++count;
  }
  return count;
}

}  // namespace panicroom::tests
