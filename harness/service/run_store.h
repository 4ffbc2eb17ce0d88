// What the service knows of its runs, in a database that outlives it: after kill -9 every run that was named to a
// client is there, in the state that was last written.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/result.h"
#include "harness/service/child_process.h"
#include "harness/service/run_name.h"
#include "harness/service/sqlite.h"
#include "panicroom/v1/run_service.pb.h"

namespace panicroom::service {

// True for states that a run does not leave again.
bool is_final(v1::RunState state);

// Thread-safe.
class RunStore {
 public:
  // Creates the file if it is not there. kHost, also for a database of a newer version.
  static Result<std::unique_ptr<RunStore>> open(const std::filesystem::path& path);

  // Adds a run that is queued; gives it its name and its time. `prepare` is called with its number before anybody can
  // see it; its error undoes all, and is the result. `queue_limit`: so many may be queued, this one included; one more
  // is nothing, with no call.
  Result<std::optional<v1::RunRecord>> add(v1::RunRecord record, std::size_t queue_limit,
                                           const std::function<Result<>(RunId id)>& prepare);

  // Nothing if there is no such run.
  Result<std::optional<v1::RunRecord>> get(RunId id);
  // At most `limit` runs older than `before`, the newest first; only those in `state` unless it is unspecified.
  Result<std::vector<v1::RunRecord>> list(v1::RunState state, RunId before, std::size_t limit);
  // The oldest run in that state.
  Result<std::optional<RunId>> oldest(v1::RunState state);

  // Replaces what is known of a run.
  Result<> update(RunId id, const v1::RunRecord& record);
  // The process that carries the run out.
  Result<> set_process(RunId id, const ProcessIdentity& process);
  Result<std::optional<ProcessIdentity>> process(RunId id);

 private:
  explicit RunStore(Database database) : database_(std::move(database)) {}

  std::mutex mutex_;
  Database database_;
};

}  // namespace panicroom::service
