// What the service knows of its runs, in a database that outlives it: after kill -9 every run that was named to a
// client is there, in the state that was last written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "harness/service/child_process.h"
#include "harness/service/run_name.h"
#include "harness/service/sqlite.h"
#include "panicroom/v1/run_service.pb.h"

namespace panicroom::service {

// True for states that a run does not leave again.
bool is_final(v1::RunState state);

// How much may be queued, the new run included.
struct QueueLimits {
  std::size_t all = 0;
  std::size_t client = 0;  // Of one client.
};

// A client's own mark for a request; see StartRunRequest.request_id.
struct RequestMark {
  std::string id;      // Empty: none.
  std::string digest;  // Of all that the request asks for.
};

struct AddedRun {
  enum class Outcome { kAdded, kThereAlready, kAnotherRequest, kQueueFull, kClientQueueFull };
  Outcome outcome = Outcome::kAdded;
  v1::RunRecord record;  // If it was added, or is there already.
};

struct EndedRun {
  RunId id{};
  std::int64_t end_seconds = 0;  // Since the epoch.
};

// Thread-safe.
class RunStore {
 public:
  // Creates the file if it is not there. kHost, also for a database of a newer version.
  static Result<std::unique_ptr<RunStore>> open(const std::filesystem::path& path);

  // Adds a run that is queued, of the client that `record` names; gives it its name and its time. `prepare` is called
  // with its number before anybody can see it; its error undoes all, and is the result. It is not called for other
  // outcomes than kAdded.
  Result<AddedRun> add(v1::RunRecord record, const QueueLimits& limits, const RequestMark& mark,
                       const std::function<Result<>(RunId id)>& prepare);
  // The run that the same client's request with this mark has become: kThereAlready or kAnotherRequest; nothing if
  // there was none.
  Result<std::optional<AddedRun>> find(const std::string& client, const RequestMark& mark);

  // Nothing if there is no such run.
  Result<std::optional<v1::RunRecord>> get(RunId id);
  // At most `limit` runs older than `before`, the newest first; only those in `state` unless it is unspecified.
  Result<std::vector<v1::RunRecord>> list(v1::RunState state, RunId before, std::size_t limit);
  // The oldest run in that state.
  Result<std::optional<RunId>> oldest(v1::RunState state);
  // At most `limit` queued runs, the oldest first.
  Result<std::vector<v1::RunRecord>> queued(std::size_t limit);
  // How many runs are in each state.
  Result<std::map<v1::RunState, std::uint64_t>> counts();
  // Those that have ended, the one that ended first first.
  Result<std::vector<EndedRun>> ended();

  // Replaces what is known of a run.
  Result<> update(RunId id, const v1::RunRecord& record);
  // Forgets a run that has ended. False if it has not, or is not there.
  Result<bool> remove(RunId id);
  // The process that carries the run out.
  Result<> set_process(RunId id, const ProcessIdentity& process);
  Result<std::optional<ProcessIdentity>> process(RunId id);

 private:
  explicit RunStore(Database database) : database_(std::move(database)) {}

  Result<std::optional<AddedRun>> find_locked(const std::string& client, const RequestMark& mark);

  std::mutex mutex_;
  Database database_;
};

}  // namespace panicroom::service
