// `panicroom runs`: the runs of a server.
#include <fmt/core.h>
#include <google/protobuf/util/time_util.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iostream>

#include "base/file.h"
#include "harness/cli/commands.h"
#include "harness/cli/remote_run.h"
#include "harness/cli/signals.h"
#include "harness/report/report_files.h"
#include "harness/report/untrusted_text.h"

namespace panicroom::cli {
namespace {

using google::protobuf::util::TimeUtil;

std::string state_word(v1::RunState state) {
  switch (state) {
    case v1::RUN_STATE_QUEUED:
      return "queued";
    case v1::RUN_STATE_RUNNING:
      return "running";
    case v1::RUN_STATE_FINISHED:
      return "finished";
    case v1::RUN_STATE_FAILED:
      return "failed";
    case v1::RUN_STATE_CANCELLED:
      return "cancelled";
    case v1::RUN_STATE_INTERRUPTED:
      return "interrupted";
    default:
      return "unknown";
  }
}

std::string counts_text(const v1::RunRecord& run) {
  if (!run.has_counts()) return "-";
  const auto& counts = run.counts();
  return fmt::format("{} passed, {} failed, {} errors, {} skipped", counts.passed(), counts.failed(), counts.errors(),
                     counts.skipped());
}

Result<> list(const RemoteOptions& options) {
  auto client = TRY(connect(options.server));
  const auto runs = TRY(client.list_runs());
  if (runs.empty()) {
    fmt::print("no runs\n");
    return {};
  }
  using Row = std::array<std::string, 5>;
  std::vector<Row> rows = {{"RUN", "STATE", "CLIENT", "QUEUED", "TRIALS"}};
  for (const auto& run : runs) {
    rows.push_back({harness::escape_untrusted(run.name()), state_word(run.state()),
                    harness::escape_untrusted(run.client()), TimeUtil::ToString(run.create_time()), counts_text(run)});
  }
  constexpr std::size_t kPadded = std::tuple_size_v<Row> - 1;
  std::array<std::size_t, kPadded> widths{};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < kPadded; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < kPadded; ++i) fmt::print("{:<{}}  ", row[i], widths[i]);
    fmt::print("{}\n", row.back());
  }
  return {};
}

void print_joined(std::string_view label, const google::protobuf::RepeatedPtrField<std::string>& values) {
  if (values.empty()) return;
  std::string text;
  for (const auto& value : values) text += (text.empty() ? "" : ", ") + harness::escape_untrusted(value);
  fmt::print("{:<10} {}\n", label, text);
}

Result<> show(const RemoteOptions& options) {
  auto client = TRY(connect(options.server));
  const auto run = TRY(client.get_run(TRY(service::run_name_of(options.run))));
  fmt::print("{:<10} {}\n", "run", harness::escape_untrusted(run.name()));
  fmt::print("{:<10} {}\n", "state", state_word(run.state()));
  fmt::print("{:<10} {}\n", "client", harness::escape_untrusted(run.client()));
  if (!run.error().empty()) fmt::print("{:<10} {}\n", "why", harness::escape_untrusted(run.error()));
  fmt::print("{:<10} {}\n", "queued", TimeUtil::ToString(run.create_time()));
  if (run.has_start_time()) fmt::print("{:<10} {}\n", "began", TimeUtil::ToString(run.start_time()));
  if (run.has_end_time()) fmt::print("{:<10} {}\n", "ended", TimeUtil::ToString(run.end_time()));
  fmt::print("{:<10} {}\n", "scenarios", run.scenario_count());
  print_joined("tiers", run.options().tiers());
  print_joined("names", run.options().names());
  print_joined("kernels", run.options().kernels());
  if (run.options().repeat() > 1) fmt::print("{:<10} {}\n", "repeats", run.options().repeat());
  fmt::print("{:<10} {}\n", "trials", counts_text(run));
  return {};
}

Result<int> watch(const RemoteOptions& options) {
  auto client = TRY(connect(options.server));
  const auto name = TRY(service::run_name_of(options.run));
  const auto progress = harness::make_progress(std::cerr, harness::inspect_terminal(STDERR_FILENO));
  RunOutput output(*progress, {}, 0);
  const auto ended = TRY(RemoteRun(client, *progress, output).watch(name));
  TRY(error_of(ended));
  const auto& counts = ended.counts();
  fmt::print("{} passed, {} failed, {} errors, {} skipped\n", counts.passed(), counts.failed(), counts.errors(),
             counts.skipped());
  return ended.exit_status();
}

Result<> cancel(const RemoteOptions& options) {
  auto client = TRY(connect(options.server));
  const auto run = TRY(client.cancel_run(TRY(service::run_name_of(options.run))));
  fmt::print("{} {}\n", harness::escape_untrusted(run.name()),
             run.state() == v1::RUN_STATE_RUNNING ? "is ending its guests" : "is " + state_word(run.state()));
  return {};
}

Result<> fetch(const FetchOptions& options) {
  auto client = TRY(connect(options.remote.server));
  const auto name = TRY(service::run_name_of(options.remote.run));
  auto out = options.out;
  if (out.empty()) {
    auto folder = name;
    std::ranges::replace(folder, '/', '-');
    out = std::filesystem::path("panicroom-out") / folder;
  }
  const auto progress = harness::make_progress(std::cerr, harness::inspect_terminal(STDERR_FILENO));
  RunOutput output(*progress, out, 0);
  TRY(RemoteRun(client, *progress, output).fetch(name, out));
  fmt::print("the files of {} are in {}\n", name, out.native());
  return {};
}

int status_of(const Result<>& done) { return done ? kSuccess : fail(done.error()); }

}  // namespace

int runs_list(const RemoteOptions& options) { return status_of(list(options)); }
int runs_show(const RemoteOptions& options) { return status_of(show(options)); }
int runs_watch(const RemoteOptions& options) {
  const auto status = watch(options);
  return status ? *status : fail(status.error());
}
int runs_cancel(const RemoteOptions& options) { return status_of(cancel(options)); }
int runs_fetch(const FetchOptions& options) { return status_of(fetch(options)); }

}  // namespace panicroom::cli
