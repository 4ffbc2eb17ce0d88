// Which ended runs are kept. A run that is removed takes its files with it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "base/result.h"
#include "harness/service/run_store.h"

namespace panicroom::service {

struct RetentionPolicy {
  std::optional<std::chrono::seconds> age;  // Since the run's end. Nothing: however old.
  std::optional<std::uint64_t> bytes;       // Of the files of all runs. Nothing: however many.

  [[nodiscard]] bool keeps_everything() const { return !age && !bytes; }
};

// Removes ended runs, those that ended first first, until what is left is as the policy wants it. The run that ended
// last stays, unless it is too old. `folder` tells where a run's files are; `removed` is told of each. kHost if the
// store cannot be read or written; files that cannot be removed are left to the server's next start, which knows no run
// for them.
Result<> remove_old_runs(RunStore& store, const RetentionPolicy& policy, std::chrono::sys_seconds now,
                         const std::function<std::filesystem::path(RunId id)>& folder,
                         const std::function<void(RunId id)>& removed);

}  // namespace panicroom::service
