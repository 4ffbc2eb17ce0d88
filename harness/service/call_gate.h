// Who calls, and whether that client may: every call of every service begins here. Includes gRPC's headers: for the
// service's own sources.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "harness/service/client_roles.h"
#include "harness/service/service_log.h"

namespace panicroom::service {

struct Caller {
  std::string identity;
  Role role = Role::kView;

  // Whether a run that `client` started is this caller's to end.
  [[nodiscard]] bool may_end_run_of(std::string_view client) const {
    return role == Role::kControl || client == identity;
  }
};

struct CallGateOptions {
  std::filesystem::path clients;  // The operator's file; see ClientRoles. Empty: there is no way in with TLS.
  // Of one client with TLS: so many calls in a row, and so many in a second for as long as it likes.
  double burst = 400;
  double calls_in_a_second = 100;
  LogSink log;
  std::function<void(std::string_view why)> refused;  // For the metrics; any thread. May be empty.
};

// Thread-safe.
class CallGate {
 public:
  using Clock = std::chrono::steady_clock;

  // kInvalidInput if the clients' file is wrong.
  static Result<CallGate> open(CallGateOptions options);

  // OK, and who calls; or PERMISSION_DENIED, RESOURCE_EXHAUSTED or FAILED_PRECONDITION. A clients' file that has
  // changed is read again; while it is wrong, no client with TLS is let in, and the log says why.
  grpc::Status admit(const grpc::ServerContextBase& call, Role needed, Caller& caller);

  // admit() without gRPC. `identities`: those of the certificate; nothing: a local caller.
  grpc::Status admit(const std::optional<std::vector<std::string>>& identities, Role needed, Clock::time_point now,
                     Caller& caller);

 private:
  struct Budget {
    double calls = 0;
    Clock::time_point at;
  };
  // What tells whether the file is another, or may be read by others than before.
  struct Version {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t bytes = 0;
    std::int64_t changed_seconds = 0;  // Its inode, which a new content and a new owner change.
    std::int64_t changed_nanoseconds = 0;
    friend bool operator==(const Version&, const Version&) = default;
  };
  struct State {
    std::mutex mutex;
    std::optional<ClientRoles> roles;  // Nothing: the file is wrong.
    std::optional<Version> version;
    std::map<std::string, Budget> budgets;  // One for each name in the file, and "" for all others together.
  };
  explicit CallGate(CallGateOptions options) : options_(std::move(options)), state_(std::make_unique<State>()) {}

  [[nodiscard]] std::optional<Version> version_now() const;
  void look_at_file();
  grpc::Status refuse(std::string_view why, const grpc::Status& status) const;
  [[nodiscard]] grpc::Status too_many() const;
  bool spend(const std::string& identity, Clock::time_point now);

  CallGateOptions options_;
  std::unique_ptr<State> state_;
};

}  // namespace panicroom::service
