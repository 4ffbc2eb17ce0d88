// `panicroom run --server`: the scenarios go to a server, its events are shown as they come, its files are fetched.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "base/file.h"
#include "harness/cli/commands.h"
#include "harness/cli/remote_run.h"
#include "harness/cli/signals.h"
#include "harness/report/report_files.h"
#include "harness/report/tally.h"
#include "harness/scenario/parser.h"
#include "harness/scenario/selection.h"
#include "harness/service/run_name.h"

namespace panicroom::cli {
namespace {

// The path of a scenario file as the service takes it: relative, and of few characters. What is replaced is for the
// report's reader only, so two files may come to the same; then the second gets a number.
std::string wire_path(const std::filesystem::path& file, std::set<std::string>& taken) {
  std::string path;
  for (const auto& part : file.lexically_normal()) {
    std::string plain = part.string();
    if (plain == "." || plain == ".." || plain == "/") continue;
    for (char& c : plain) {
      if (!service::is_plain_path(std::string("a") + c)) c = '_';
    }
    if (!service::is_plain_path(plain)) plain.insert(0, "_");
    path += (path.empty() ? "" : "/") + plain;
  }
  constexpr std::size_t kMost = 180;
  if (path.size() > kMost) path = "_" + path.substr(path.size() - kMost);
  if (!service::is_plain_path(path)) std::ranges::replace(path, '/', '_');  // Too deep.
  std::string unique = path;
  for (int n = 2; !taken.insert(unique).second; ++n) unique = fmt::format("{}_/{}", n, path);
  return unique;
}

// Paths that begin with it are the server's: what stands behind it is a path in its catalogue.
constexpr std::string_view kCataloguePrefix = "catalogue:";

Result<v1::StartRunRequest> make_request(const RunOptions& options, const std::vector<harness::Scenario>& scenarios) {
  v1::StartRunRequest request;
  for (const auto& path : options.scenarios) {
    const std::string_view text = path.native();
    if (text.starts_with(kCataloguePrefix)) request.add_catalogue(std::string(text.substr(kCataloguePrefix.size())));
  }
  std::set<std::filesystem::path> files;
  std::set<std::string> taken;
  for (const auto& scenario : scenarios) {
    if (!files.insert(scenario.file).second) continue;
    auto& file = *request.add_scenario_files();
    file.set_path(wire_path(scenario.file, taken));
    file.set_yaml(TRY(read_text_file(scenario.file)));
    file.set_named(scenario.file_named);
  }
  auto& wanted = *request.mutable_options();
  for (const auto& tier : options.wanted.tiers) wanted.add_tiers(tier);
  for (const auto& name : options.wanted.names) wanted.add_names(name);
  for (const auto& kernel : options.kernels) wanted.add_kernels(kernel);
  if (options.capture_kernel) wanted.set_capture_kernel(*options.capture_kernel);
  wanted.set_engine(options.engine);
  wanted.set_repeat(options.repeat);
  wanted.set_jobs(options.jobs);
  return request;
}

Result<int> run_there(const RunOptions& options, std::vector<harness::Scenario> scenarios) {
  const auto request = TRY(make_request(options, scenarios));
  std::size_t width = 0;
  harness::Selection selection;
  // What the catalogue has is the server's to know.
  if (request.catalogue().empty()) selection = TRY(harness::select_scenarios(std::move(scenarios), options.wanted));
  for (const auto& scenario : selection.scenarios) width = std::max(width, scenario.name.size());

  auto client = TRY(connect(options.server));
  const auto record = TRY(client.start_run(request));
  const auto progress = harness::make_progress(std::cerr, harness::inspect_terminal(STDERR_FILENO));
  const auto out = options.out.empty() ? default_out() : options.out;
  RunOutput output(*progress, out, width);
  progress->print(fmt::format("panicroom: {} at {}\n", record.name(), options.server.address));
  RemoteRun run(client, *progress, output);
  Result<v1::RunEnded> ended = host_error("not watched");
  {
    const SignalWatcher signals(
        [&](int) {
          // What cannot be cancelled is watched on; once more leaves.
          [[maybe_unused]] const auto cancelled = client.cancel_run(record.name());
        },
        "cancelling the run");
    ended = run.watch(record.name());
  }
  if (!ended) return ended.error();
  // An earlier run's is not to be taken for this one's.
  std::error_code ignored;
  std::filesystem::remove(out / harness::kReportFile, ignored);
  TRY(run.fetch(record.name(), out));
  const auto report = harness::read_report(out);
  const auto error = error_of(*ended);
  // A run that failed early has left no report, and its own error says why.
  if (!report) return error ? report.error() : error.error();
  output.totals(*report, selection.left_out);
  const auto written = harness::write_report_files(*report, {options.json, options.junit, options.ktap});
  TRY(error);
  TRY(written);
  output.files();
  return harness::exit_status(*report);
}

}  // namespace

int run_remotely(const RunOptions& options) {
  std::vector<std::filesystem::path> paths;
  std::ranges::copy_if(options.scenarios, std::back_inserter(paths),
                       [](const auto& path) { return !path.native().starts_with(kCataloguePrefix); });
  // The server checks as well; here the files have the names that the user knows.
  auto parsed = paths.empty() ? harness::ParseResult() : harness::load(paths);
  if (!parsed.diagnostics.empty()) {
    fmt::print(stderr, "{}", harness::render(parsed.diagnostics));
    return kWrongInput;
  }
  const auto status = run_there(options, std::move(parsed.scenarios));
  return status ? *status : fail(status.error());
}

}  // namespace panicroom::cli
