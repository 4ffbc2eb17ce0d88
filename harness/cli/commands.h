// The subcommands of the command line: each takes its parsed options and gives the process's exit status.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "harness/cli/server_choice.h"
#include "harness/scenario/selection.h"

namespace panicroom::cli {

// What `run` promises (see docs/command-line.md); the other commands use 0, 2 and 3 in the same sense.
enum ExitStatus : int {
  kSuccess = 0,
  kSomeFailed = 1,
  kWrongInput = 2,     // The command line or a scenario is wrong.
  kHarnessError = 3,   // Some verdict is error, or the host could not do what was asked.
  kInterrupted = 130,  // Ctrl-C, as shells have it: 128 + SIGINT.
};

struct RunOptions {
  std::vector<std::filesystem::path> scenarios;
  harness::Selectors wanted;
  std::vector<std::string> kernels;  // References and patterns. Empty: the host's own suite, cloud-amd64.
  std::optional<std::string> capture_kernel;
  std::string engine = "auto";
  std::uint32_t repeat = 1;
  std::uint32_t jobs = 1;
  std::filesystem::path out;  // Empty: panicroom-out/TIME.
  std::optional<std::filesystem::path> json;
  std::optional<std::filesystem::path> junit;
  std::optional<std::filesystem::path> ktap;
  ServerChoice server;                           // Where it is carried out; no address: here.
  std::optional<std::filesystem::path> journal;  // Where the run's events go, for the service: see run_journal.h.
};

struct ServeOptions {
  std::filesystem::path state;            // Empty: the default.
  std::vector<std::string> listen;        // Empty: a socket in the state directory.
  std::filesystem::path tls_certificate;  // All three, or none.
  std::filesystem::path tls_key;
  std::filesystem::path tls_ca;
  std::filesystem::path clients;                      // Which of them may do what.
  std::filesystem::path catalogue;                    // Empty: none.
  std::vector<std::filesystem::path> kernel_folders;  // Kernels below them may be named by their paths.
  std::string metrics;                                // Empty: none.
  bool json_log = false;
  std::uint32_t runs = 1;                         // At a time.
  std::optional<std::uint32_t> runs_of_a_client;  // At a time. Nothing: as many as `runs`.
  std::uint32_t queued = 1000;
  std::optional<std::uint32_t> queued_of_a_client;  // Nothing: as many as `queued`.
  std::uint32_t vcpus = 64;                         // Of all runs at a time.
  std::uint64_t memory_mib = 16384;                 // As well.
  std::optional<std::uint32_t> keep_days;           // Nothing: for ever.
  std::optional<std::uint64_t> keep_mib;            // Nothing: all.
  std::uint32_t drain_seconds = 300;                // After SIGTERM, for runs to come to their ends.
  std::size_t control_sessions = 1;                 // At a time.
  std::int64_t control_idle_seconds = 600;          // A session without requests ends then.
};

// What names a server, and a run of it.
struct RemoteOptions {
  ServerChoice server;
  std::string run;  // "runs/17", or 17 alone.
};

struct FetchOptions {
  RemoteOptions remote;
  std::filesystem::path out;  // Empty: panicroom-out/runs-17.
};

struct ReportOptions {
  std::filesystem::path folder;               // A run's --out folder.
  std::optional<std::filesystem::path> html;  // Nothing: report.html in the folder.
  std::optional<std::filesystem::path> trace;
};

int run(const RunOptions& options);
// The same, carried out by the server that the options name.
int run_remotely(const RunOptions& options);
// Until SIGTERM or Ctrl-C.
int serve(const ServeOptions& options);
// One session of interactive control, for the service: its socket is standard input. `logs`: a folder for its boot's.
int control_session(const std::filesystem::path& logs);
int runs_list(const RemoteOptions& options);
int runs_show(const RemoteOptions& options);
// As the command that started the run would have printed it; its exit status is the run's.
int runs_watch(const RemoteOptions& options);
int runs_cancel(const RemoteOptions& options);
int runs_fetch(const FetchOptions& options);
int check(const std::vector<std::filesystem::path>& scenarios);
int doctor();
// No suites: all that are known. `cached_only`: looks at the cache and nowhere else.
int kernels_list(const std::vector<std::string>& suites, bool cached_only);
int kernels_fetch(const std::vector<std::string>& references, bool print_path);
int kernels_inspect(const std::string& reference);
int report(const ReportOptions& options);
// kSomeFailed if something got worse from the first report to the second.
int compare(const std::filesystem::path& before, const std::filesystem::path& after);

// The exit status that an error's kind calls for.
int exit_status_of(const Error& error);
// Prints "panicroom: error: MESSAGE" to stderr and gives that exit status.
int fail(const Error& error);

}  // namespace panicroom::cli
