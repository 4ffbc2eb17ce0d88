// What the gRPC services share.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "harness/service/call_gate.h"
#include "harness/service/grpc_status.h"
#include "harness/service/run_queue.h"
#include "harness/service/run_request.h"
#include "harness/service/run_store.h"
#include "harness/service/run_watchers.h"
#include "harness/service/server.h"

namespace panicroom::service {

struct ServiceContext {
  const ServerOptions& options;
  RunStore& store;
  RunWatchers& watchers;
  RunQueue& queue;
  CallGate& gate;
  std::filesystem::path staging;       // Where requests are laid down before they are runs.
  std::filesystem::path control;       // Where control sessions have their folders.
  std::atomic<bool> stopping = false;  // No new runs are taken.

  void log(std::string message, std::vector<std::pair<std::string, std::string>> fields = {}) const {
    if (options.log)
      options.log({.level = LogLevel::kInfo, .message = std::move(message), .fields = std::move(fields)});
  }
  // For calls that are the same for every client that may make them.
  [[nodiscard]] grpc::Status admit(const grpc::ServerContextBase& call, Role needed) const {
    Caller caller;
    return gate.admit(call, needed, caller);
  }
  [[nodiscard]] grpc::Status internal(const Error& error) const { return service::internal(error, options.log); }
};

// What a page request means: at most so many entries. Nothing for a negative size.
inline std::optional<std::size_t> page_size(std::int32_t asked) {
  constexpr std::size_t kDefault = 100;
  constexpr std::size_t kMost = 1000;
  if (asked < 0) return std::nullopt;
  return asked == 0 ? kDefault : std::min(static_cast<std::size_t>(asked), kMost);
}

inline grpc::Status no_such_run(const std::string& name) {
  return {grpc::StatusCode::NOT_FOUND, fmt::format("there is no run {}", name.substr(0, 100))};
}

}  // namespace panicroom::service
