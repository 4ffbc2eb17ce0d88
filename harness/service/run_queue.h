// Carries out queued runs, one after the other, each in a process of its own, and keeps the store and the watchers
// told.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/file.h"
#include "base/result.h"
#include "harness/service/child_process.h"
#include "harness/service/run_store.h"
#include "harness/service/run_watchers.h"

namespace panicroom::service {

// A run's folder holds: scenarios/ (what it runs, its process's working directory), out/ (its --out folder), journal
// (RunJournal), stdout.log and stderr.log (its process's).
inline constexpr const char* kScenariosFolder = "scenarios";
inline constexpr const char* kOutFolder = "out";

struct RunQueueOptions {
  std::filesystem::path runs;  // A run's folder is named by its number.
  // The command that carries a run out, in its folder's scenarios/.
  std::function<std::vector<std::string>(const v1::RunRecord& record, const std::filesystem::path& folder)> command;
  // For the server's log: one line, without its end. From any thread.
  std::function<void(std::string_view line)> log;
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
  // Carries out no more runs, and interrupts the one that is under way; returns when its process has ended. What is
  // queued stays so.
  void stop();

  [[nodiscard]] std::filesystem::path folder(RunId id) const;

 private:
  struct Current {
    RunId id{};
    ChildProcess process;
    std::optional<std::chrono::steady_clock::time_point> kill_at;  // It has been told to end.
    UniqueFd journal_watch;
  };
  void work();
  // False if nothing is queued, or it cannot be started now.
  Result<bool> start_next();
  Result<Current> start_process(RunId id, const v1::RunRecord& record);
  void wait_for_something();
  void end_current();
  // What has become of a run whose process has ended: by its journal, or if that does not tell, `otherwise`.
  Result<> conclude(RunId id, v1::RunState otherwise, std::string_view why, int exit_status);
  void log(std::string_view line) const;

  RunStore& store_;
  RunWatchers& watchers_;
  RunQueueOptions options_;
  UniqueFd wake_;
  std::mutex mutex_;  // The two that follow, and which state a run is in.
  bool stopping_ = false;
  std::optional<RunId> cancelled_;  // The run under way, if a client has ended it.

  std::optional<Current> current_;  // The thread's own.
  std::thread thread_;
};

}  // namespace panicroom::service
