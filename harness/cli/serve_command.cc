// `panicroom serve`: carries out the runs of others, until it is told to stop.
#include <fmt/core.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "base/file.h"
#include "harness/cli/commands.h"
#include "harness/cli/server_log.h"
#include "harness/cli/signals.h"
#include "harness/doctor/findings.h"
#include "harness/report/untrusted_text.h"
#include "harness/service/grpc_log.h"
#include "harness/service/server.h"
#include "harness/session/engine.h"
#include "kernels/packages/kernel_store.h"

namespace panicroom::cli {
namespace {

std::vector<kernels::StoredKernel> cached_kernels() {
  const auto cache = kernels::default_cache_dir();
  return cache ? kernels::KernelStore(*cache).cached() : std::vector<kernels::StoredKernel>();
}

// Folders that the operator names have to be there: a slip must not open or close anything silently.
Result<> check_folder(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) return invalid_input("{} is no folder", folder.native());
  return {};
}

service::RetentionPolicy retention(const ServeOptions& options) {
  service::RetentionPolicy policy;
  if (options.keep_days) policy.age = std::chrono::days(*options.keep_days);
  if (options.keep_mib) policy.bytes = *options.keep_mib << 20;
  return policy;
}

Result<> serve_until_signal(const ServeOptions& options) {
  const UniqueFd signalled(::eventfd(0, EFD_CLOEXEC));
  if (!signalled) return errno_error(errno, "eventfd");
  std::atomic<int> signal = 0;
  const SignalWatcher signals(
      [&](int number) {
        signal = number;
        const std::uint64_t one = 1;
        static_cast<void>(!::write(signalled.get(), &one, sizeof(one)));
      },
      "stopping");
  const auto log = make_server_log(options.json_log ? LogFormat::kJson : LogFormat::kText);
  service::ServerOptions server_options{
      .state = options.state.empty() ? TRY(service::default_state_directory()) : options.state,
      .listen = options.listen,
      .tls = TRY(tls_files(options.tls_certificate, options.tls_key, options.tls_ca)),
      .clients = options.clients,
      .policy = {.catalogue = options.catalogue,
                 .kernel_folders = options.kernel_folders,
                 .max_vcpus = options.vcpus,
                 .max_memory_bytes = options.memory_mib << 20},
      .running = {.runs = options.runs,
                  .runs_of_a_client = options.runs_of_a_client.value_or(options.runs),
                  .vcpus = options.vcpus,
                  .memory_bytes = options.memory_mib << 20},
      .retention = retention(options),
      .max_queued = options.queued,
      .max_queued_of_a_client = options.queued_of_a_client.value_or(options.queued),
      .max_control_sessions = options.control_sessions,
      .control_idle_limit = std::chrono::seconds(options.control_idle_seconds),
      .program = {},
      .end_leftovers = harness::end_leftovers,
      .host = {},
      .version = PANICROOM_VERSION,
      .kernels = cached_kernels,
      .metrics = options.metrics,
      .log = log,
  };
  if (!options.catalogue.empty()) TRY(check_folder(options.catalogue));
  for (const auto& folder : options.kernel_folders) TRY(check_folder(folder));
  // Before anything runs that would disturb the measurement, or be disturbed by it.
  harness::fill(harness::measure_host(), server_options.host);
  service::set_grpc_log([log](const service::LogEntry& entry) {
    auto escaped = entry;
    escaped.message = harness::escape_untrusted(entry.message);
    log(escaped);
  });
  const auto server = TRY(service::Server::start(std::move(server_options)));
  const auto say = [&](std::string message) {
    log({.level = service::LogLevel::kInfo, .message = std::move(message), .fields = {}});
  };
  if (!server->metrics_address().empty()) say(fmt::format("metrics at http://{}/metrics", server->metrics_address()));
  // The command's result, for scripts: they wait for these lines.
  for (const auto& address : server->addresses()) {
    say(fmt::format("listening at {}", address));
    fmt::print("{}\n", address);
  }
  std::fflush(stdout);
  std::uint64_t count = 0;
  while (::read(signalled.get(), &count, sizeof(count)) < 0 && errno == EINTR) {
  }
  // Whoever presses Ctrl-C wants it to end; who sends SIGTERM wants it to end well.
  if (signal == SIGTERM && options.drain_seconds > 0) {
    say(fmt::format("taking no more runs; those that are under way have {} seconds", options.drain_seconds));
    server->drain(std::chrono::steady_clock::now() + std::chrono::seconds(options.drain_seconds));
  }
  server->stop();
  say("stopped");
  return {};
}

}  // namespace

int serve(const ServeOptions& options) {
  const auto served = serve_until_signal(options);
  return served ? kSuccess : fail(served.error());
}

}  // namespace panicroom::cli
