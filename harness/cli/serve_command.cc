// `panicroom serve`: carries out the runs of others, until it is told to stop.
#include <fmt/chrono.h>
#include <fmt/core.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <mutex>

#include "base/file.h"
#include "harness/cli/commands.h"
#include "harness/cli/signals.h"
#include "harness/doctor/findings.h"
#include "harness/service/server.h"
#include "harness/session/engine.h"
#include "kernels/packages/kernel_store.h"

namespace panicroom::cli {
namespace {

// Standard error is the log: whoever starts a service keeps it.
void log_line(std::string_view line) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const auto text = fmt::format("{:%Y-%m-%dT%H:%M:%SZ} {}\n", fmt::gmtime(std::time(nullptr)), line);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

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

Result<> serve_until_signal(const ServeOptions& options) {
  const UniqueFd signalled(::eventfd(0, EFD_CLOEXEC));
  if (!signalled) return errno_error(errno, "eventfd");
  const SignalWatcher signals(
      [&] {
        const std::uint64_t one = 1;
        static_cast<void>(!::write(signalled.get(), &one, sizeof(one)));
      },
      "ending the run that is under way, and then leaving");
  service::ServerOptions server_options{
      .state = options.state.empty() ? TRY(service::default_state_directory()) : options.state,
      .listen = options.listen,
      .policy = {.catalogue = options.catalogue, .kernel_folders = options.kernel_folders},
      .max_control_sessions = options.control_sessions,
      .control_idle_limit = std::chrono::seconds(options.control_idle_seconds),
      .program = {},
      .end_leftovers = harness::end_leftovers,
      .host = {},
      .version = PANICROOM_VERSION,
      .kernels = cached_kernels,
      .log = log_line,
  };
  if (!options.catalogue.empty()) TRY(check_folder(options.catalogue));
  for (const auto& folder : options.kernel_folders) TRY(check_folder(folder));
  // Before anything runs that would disturb the measurement, or be disturbed by it.
  harness::fill(harness::measure_host(), server_options.host);
  const auto server = TRY(service::Server::start(std::move(server_options)));
  log_line(fmt::format("listening at {}", server->address()));
  // The command's result, for scripts: they wait for this line.
  fmt::print("{}\n", server->address());
  std::fflush(stdout);
  std::uint64_t count = 0;
  while (::read(signalled.get(), &count, sizeof(count)) < 0 && errno == EINTR) {
  }
  server->stop();
  log_line("stopped");
  return {};
}

}  // namespace

int serve(const ServeOptions& options) {
  const auto served = serve_until_signal(options);
  return served ? kSuccess : fail(served.error());
}

}  // namespace panicroom::cli
