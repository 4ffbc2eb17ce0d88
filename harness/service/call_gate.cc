#include "harness/service/call_gate.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace panicroom::service {
namespace {

// Nothing for a connection without TLS, which only unix sockets and loopback ports take. A certificate that has neither
// names nor a common name is a client without identity and nobody local.
std::optional<std::vector<std::string>> identities_of(const grpc::ServerContextBase& call) {
  const auto context = call.auth_context();
  if (context == nullptr) return std::nullopt;
  bool encrypted = context->IsPeerAuthenticated();
  for (const auto& type : context->FindPropertyValues("transport_security_type")) {
    encrypted = encrypted || (type != "insecure" && type != "local");
  }
  if (!encrypted) return std::nullopt;
  std::vector<std::string> identities;
  for (const auto& identity : context->GetPeerIdentity()) identities.emplace_back(identity.data(), identity.size());
  return identities;
}

}  // namespace

Result<CallGate> CallGate::open(CallGateOptions options) {
  CallGate gate(std::move(options));
  if (!gate.options_.clients.empty()) {
    gate.state_->version = gate.version_now();
    gate.state_->roles = TRY(ClientRoles::load(gate.options_.clients));
  }
  return gate;
}

std::optional<CallGate::Version> CallGate::version_now() const {
  struct stat status {};
  if (::stat(options_.clients.c_str(), &status) != 0) return std::nullopt;
  return Version{.device = status.st_dev,
                 .inode = status.st_ino,
                 .bytes = status.st_size,
                 .changed_seconds = status.st_ctim.tv_sec,
                 .changed_nanoseconds = status.st_ctim.tv_nsec};
}

void CallGate::look_at_file() {
  const auto version = version_now();
  if (version == state_->version) return;
  state_->version = version;
  auto roles = ClientRoles::load(options_.clients);
  if (!roles) {
    state_->roles.reset();
    if (options_.log) {
      options_.log({.level = LogLevel::kError,
                    .message = "no client with TLS is let in until this is mended: " + roles.error().message(),
                    .fields = {}});
    }
    return;
  }
  state_->roles = *std::move(roles);
  state_->budgets.clear();
  if (options_.log)
    options_.log({.level = LogLevel::kInfo, .message = "the clients' roles were read again", .fields = {}});
}

grpc::Status CallGate::refuse(std::string_view why, const grpc::Status& status) const {
  if (options_.refused) options_.refused(why);
  return status;
}

grpc::Status CallGate::too_many() const {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED,
          fmt::format("more than {} calls in a second", options_.calls_in_a_second)};
}

bool CallGate::spend(const std::string& identity, Clock::time_point now) {
  const auto [found, added] = state_->budgets.try_emplace(identity, Budget{.calls = options_.burst, .at = now});
  auto& budget = found->second;
  const std::chrono::duration<double> passed = now - budget.at;
  budget.calls = std::min(options_.burst, budget.calls + std::max(passed.count(), 0.0) * options_.calls_in_a_second);
  budget.at = now;
  if (budget.calls < 1) return false;
  budget.calls -= 1;
  return true;
}

grpc::Status CallGate::admit(const std::optional<std::vector<std::string>>& identities, Role needed,
                             Clock::time_point now, Caller& caller) {
  const std::lock_guard lock(state_->mutex);
  if (!identities) {
    caller = {.identity = kLocalIdentity, .role = Role::kControl};
  } else {
    look_at_file();
    if (!state_->roles) {
      return refuse("clients file",
                    {grpc::StatusCode::FAILED_PRECONDITION, "the server's list of clients is wrong; its log says why"});
    }
    std::optional<Role> best;
    for (const auto& identity : *identities) {
      const auto role = state_->roles->role_of(identity);
      if (role && (!best || *role > *best)) {
        best = role;
        caller.identity = identity;
      }
    }
    if (!best) {
      // All of them together: whoever the CA has ever given a certificate can call.
      if (!spend({}, now)) return refuse("rate", too_many());
      return refuse("unknown",
                    {grpc::StatusCode::PERMISSION_DENIED,
                     "this server's operator has given no role to the identity in the client's certificate"});
    }
    caller.role = *best;
  }
  // Before the role is looked at: a client that is refused again and again is bounded, too.
  if (identities && !spend(caller.identity, now)) {
    return refuse("rate", too_many());
  }
  if (caller.role < needed) {
    return refuse("role", {grpc::StatusCode::PERMISSION_DENIED,
                           fmt::format("{} has the role {}, and this takes {}", caller.identity, role_name(caller.role),
                                       role_name(needed))});
  }
  return grpc::Status::OK;
}

grpc::Status CallGate::admit(const grpc::ServerContextBase& call, Role needed, Caller& caller) {
  return admit(identities_of(call), needed, Clock::now(), caller);
}

}  // namespace panicroom::service
