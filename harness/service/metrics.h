// What the service measures of itself, for Prometheus. The library's types are left out of this header.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "harness/service/run_store.h"
#include "harness/service/run_watchers.h"

namespace panicroom::service {

// All names begin with panicroom_; docs/service.md lists them. Thread-safe.
class Metrics {
 public:
  // The store and the watchers must outlive it. `state`: whose file system's free space is told.
  Metrics(RunStore& store, const RunWatchers& watchers, std::filesystem::path state);
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  ~Metrics();

  void run_ended(const v1::RunRecord& record);
  void call_refused(std::string_view why);

  // As Prometheus reads it.
  [[nodiscard]] std::string text() const;

  // Answers `GET /metrics` at "127.0.0.1:PORT" or "[::1]:PORT", port 0: any, for as long as this lives. Gives the
  // address. kHost if it cannot be listened at.
  Result<std::string> expose(const std::string& address);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace panicroom::service
