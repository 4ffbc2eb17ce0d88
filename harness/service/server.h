// The service: takes runs over gRPC, carries them out, and keeps what they leave in a state directory. gRPC's types are
// left out of this header.
//
// The state directory: runs.sqlite (RunStore), runs/N/ (see run_queue.h), staging/ (requests that are no runs yet),
// control/ (folders of sessions),
// socket, and lock, which keeps a second server out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "harness/service/retention.h"
#include "harness/service/run_queue.h"
#include "harness/service/run_request.h"
#include "harness/service/service_log.h"
#include "harness/service/tls_files.h"
#include "kernels/packages/stored_kernel.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::service {

// Below $XDG_STATE_HOME or ~/.local/state. kHost if neither variable tells.
Result<std::filesystem::path> default_state_directory();
// Where a server with that state directory listens if it is not told otherwise.
std::string default_address(const std::filesystem::path& state);

struct ServerOptions {
  std::filesystem::path state;
  // "unix:PATH" or "HOST:PORT"; port 0: any. Empty: default_address().
  std::vector<std::string> listen;
  // TCP ports take only clients with certificates from its CA. Without it they have to be loopback addresses.
  std::optional<TlsFiles> tls;
  std::filesystem::path clients;  // With TLS: which of them may do what. See ClientRoles.
  RequestPolicy policy;
  RunningLimits running;
  RetentionPolicy retention;
  std::size_t max_queued = 1000;
  std::size_t max_queued_of_a_client = 1000;
  std::size_t max_watchers = 1000;
  std::size_t max_watchers_of_a_client = 500;
  std::size_t max_downloads = 16;                         // At a time.
  std::chrono::seconds download_time{3600};               // For one of them.
  std::uint64_t min_free_bytes = std::uint64_t{1} << 30;  // On the state directory's file system, to take a run.
  std::chrono::seconds grace{60};                         // For a run's process to end its guests.
  std::size_t max_control_sessions = 1;                   // At a time.
  std::chrono::seconds control_idle_limit{600};           // A control session ends if no request comes for so long.

  // This program; `run ...` is put behind it. Empty: the program that this process is.
  std::vector<std::string> program;
  // Ends the guests of panicroom processes that are dead. May be empty.
  std::function<Result<>()> end_leftovers;
  v1::Host host;  // For HostService.
  std::string version;
  // For KernelService; from any thread, one at a time.
  std::function<std::vector<kernels::StoredKernel>()> kernels;
  std::string metrics;  // "127.0.0.1:PORT" or "[::1]:PORT", see Metrics. Empty: none.
  // Texts are printable. From any thread.
  LogSink log;
};

// Thread-safe.
class Server {
 public:
  // Recovers what a killed server left, and listens. kInvalidInput for an address that is not allowed, kHost if it
  // cannot be listened at, or if another server has the state directory.
  static Result<std::unique_ptr<Server>> start(ServerOptions options);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // As stop().
  ~Server();

  // What clients call it: one for each address that it listens at, in their order.
  [[nodiscard]] const std::vector<std::string>& addresses() const;
  // Where the metrics are; empty without.
  [[nodiscard]] const std::string& metrics_address() const;
  // Takes no new runs and begins none, is no longer healthy (grpc.health.v1), and returns when no run is under way, or
  // at `until`, or at stop().
  void drain(std::chrono::steady_clock::time_point until);
  // Takes no more calls, interrupts the runs that are under way and ends their guests, and returns when that is done.
  // Queued runs stay queued.
  void stop();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace panicroom::service
