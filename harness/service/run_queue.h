// Carries out queued runs, each in a process of its own, as many at a time as the limits take, and keeps the store and
// the watchers told.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "harness/service/child_process.h"
#include "harness/service/run_store.h"
#include "harness/service/run_watchers.h"
#include "harness/service/service_log.h"

namespace panicroom::service {

// A run's folder holds: scenarios/ (what it runs, its process's working directory), out/ (its --out folder), journal
// (RunJournal), stdout.log and stderr.log (its process's).
inline constexpr const char* kScenariosFolder = "scenarios";
inline constexpr const char* kOutFolder = "out";

// What the runs that are under way may take together. A run that takes more than the vCPUs or the memory is carried out
// alone.
struct RunningLimits {
  std::size_t runs = 1;
  std::size_t runs_of_a_client = 1;
  std::uint64_t vcpus = 64;
  std::uint64_t memory_bytes = std::uint64_t{16} << 30;
};

struct RunQueueOptions {
  std::filesystem::path runs;  // A run's folder is named by its number.
  // The command that carries a run out, in its folder's scenarios/.
  std::function<std::vector<std::string>(const v1::RunRecord& record, const std::filesystem::path& folder)> command;
  RunningLimits limits;
  LogSink log;
  // A run has come to its end. From any thread; may be empty.
  std::function<void(const v1::RunRecord& record)> ended;
  // Removes what need not be kept: called at the start, behind each run and every hour. May be empty.
  std::function<void()> tidy;
  // Ends the guests of processes that are dead: called when one may have left some.
  std::function<Result<>()> end_leftovers;
  // How long a process that was told to end its guests may take before it is killed.
  std::chrono::seconds grace{60};
};

// Thread-safe.
class RunQueue {
 public:
  // The store and the watchers must outlive it.
  RunQueue(RunStore& store, RunWatchers& watchers, RunQueueOptions options);
  RunQueue(const RunQueue&) = delete;
  RunQueue& operator=(const RunQueue&) = delete;
  ~RunQueue();

  // After a server that was killed: waits until the process of its run has ended, ends it if need be, and writes down
  // what became of the run. To be called before start().
  Result<> recover();
  // Begins to carry out what is queued.
  Result<> start();
  // A run has been queued.
  void wake();
  // Nothing if there is no such run. See RunService.CancelRun.
  Result<std::optional<v1::RunRecord>> cancel(RunId id);
  // Begins no more runs, and returns when those that are under way have ended, or at `until`, or at stop().
  void drain(std::chrono::steady_clock::time_point until);
  // Carries out no more runs, and interrupts those that are under way; returns when their processes have ended. What is
  // queued stays so.
  void stop();

  [[nodiscard]] std::filesystem::path folder(RunId id) const;

 private:
  struct Running {
    RunId id{};
    v1::RunRecord record;  // As it began.
    ChildProcess process;
    std::optional<std::chrono::steady_clock::time_point> kill_at;  // It has been told to end.
    UniqueFd journal_watch;
  };
  void work();
  void tidy();
  // Begins what is queued as far as there is room.
  Result<> start_runs();
  // The oldest run that may begin now.
  Result<std::optional<v1::RunRecord>> next_run();
  [[nodiscard]] bool has_room_for(const v1::RunRecord& record) const;
  [[nodiscard]] bool client_has_its_share(const std::string& client) const;
  Result<> start_run(v1::RunRecord record);
  Result<Running> start_process(RunId id, const v1::RunRecord& record);
  void wait_for_something();
  void end_those_that_have_to(Running& running);
  void finish(Running& running);
  // What has become of a run whose process has ended: by its journal, or if that does not tell, `otherwise`.
  Result<> conclude(RunId id, v1::RunState otherwise, std::string_view why, int exit_status);
  void log(LogLevel level, std::string message, RunId id) const;

  RunStore& store_;
  RunWatchers& watchers_;
  RunQueueOptions options_;
  UniqueFd wake_;
  std::mutex mutex_;  // What follows, and which state a run is in.
  std::condition_variable idle_;
  bool draining_ = false;
  bool stopping_ = false;
  std::set<RunId> cancelled_;  // Runs under way that a client has ended.
  std::size_t under_way_ = 0;  // Runs that have begun and are not concluded.

  // --- The thread's own.
  std::list<Running> running_;
  bool look_at_queue_ = true;  // More may be able to begin than before.
  std::chrono::steady_clock::time_point tidied_at_;
  std::thread thread_;
};

}  // namespace panicroom::service
