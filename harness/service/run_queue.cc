#include "harness/service/run_queue.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "harness/events/run_journal.h"

namespace panicroom::service {
namespace {

using google::protobuf::util::TimeUtil;
using std::chrono::steady_clock;

// What `panicroom run` exits with after SIGTERM.
constexpr int kInterruptedStatus = 130;
// And where the host could not do what was asked.
constexpr int kErrorStatus = 3;

// How much of the queue is looked at for a run that may begin.
constexpr std::size_t kLookAhead = 1000;
constexpr std::chrono::hours kTidyEvery(1);

RunId id_of(const v1::RunRecord& record) { return parse_run_name(record.name()).value_or(RunId{}); }

void empty_out(int fd) {
  std::array<char, 4096> bytes;
  while (::read(fd, bytes.data(), bytes.size()) > 0) {
  }
}

}  // namespace

RunQueue::RunQueue(RunStore& store, RunWatchers& watchers, RunQueueOptions options)
    : store_(store),
      watchers_(watchers),
      options_(std::move(options)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

RunQueue::~RunQueue() { stop(); }

std::filesystem::path RunQueue::folder(RunId id) const { return options_.runs / fmt::format("{}", number(id)); }

void RunQueue::log(LogLevel level, std::string message, RunId id) const {
  if (options_.log) {
    options_.log({.level = level, .message = std::move(message), .fields = {{"run", run_name(id)}}});
  }
}

Result<> RunQueue::recover() {
  while (true) {
    const auto id = TRY(store_.oldest(v1::RUN_STATE_RUNNING));
    if (!id) break;
    if (const auto process = TRY(store_.process(*id))) TRY(end_stale_process(*process, options_.grace));
    TRY(conclude(*id, v1::RUN_STATE_INTERRUPTED, "the server was killed while it ran", kInterruptedStatus));
    log(LogLevel::kWarning, fmt::format("{} was under way when the server before this one was killed", run_name(*id)),
        *id);
  }
  if (options_.end_leftovers) TRY(options_.end_leftovers());
  return {};
}

Result<> RunQueue::start() {
  if (!wake_) return host_error("eventfd cannot be had");
  thread_ = std::thread([this] { work(); });
  return {};
}

void RunQueue::wake() {
  const std::uint64_t one = 1;
  while (::write(wake_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

void RunQueue::drain(steady_clock::time_point until) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  idle_.wait_until(lock, until, [&] { return under_way_ == 0 || stopping_; });
}

void RunQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  idle_.notify_all();
  wake();
  if (thread_.joinable()) thread_.join();
}

Result<std::optional<v1::RunRecord>> RunQueue::cancel(RunId id) {
  const std::lock_guard lock(mutex_);
  auto record = TRY(store_.get(id));
  if (!record) return record;
  if (record->state() == v1::RUN_STATE_RUNNING) {
    cancelled_.insert(id);
    wake();
  } else if (record->state() == v1::RUN_STATE_QUEUED) {
    record->set_state(v1::RUN_STATE_CANCELLED);
    record->set_exit_status(kInterruptedStatus);
    record->set_error("cancelled before it began");
    *record->mutable_end_time() = TimeUtil::GetCurrentTime();
    TRY(store_.update(id, *record));
    if (options_.ended) options_.ended(*record);
    watchers_.notify(id, true);
    wake();
  }
  return record;
}

Result<RunQueue::Running> RunQueue::start_process(RunId id, const v1::RunRecord& record) {
  const auto where = folder(id);
  // Made here, so that it can be watched from its first byte on; the run's process takes it over.
  TRY(harness::RunJournal::create(where / harness::kRunJournalFile));
  UniqueFd journal_watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!journal_watch ||
      ::inotify_add_watch(journal_watch.get(), (where / harness::kRunJournalFile).c_str(), IN_MODIFY) < 0) {
    return errno_error(errno, "watching a run's journal");
  }
  auto process = TRY(ChildProcess::prepare({.argv = options_.command(record, where),
                                            .directory = where / kScenariosFolder,
                                            .out = where / "stdout.log",
                                            .err = where / "stderr.log"}));
  TRY(store_.set_process(id, process.identity()));
  TRY(process.go());
  return Running{.id = id,
                 .record = record,
                 .process = std::move(process),
                 .kill_at = {},
                 .journal_watch = std::move(journal_watch)};
}

bool RunQueue::has_room_for(const v1::RunRecord& record) const {
  if (running_.empty()) return true;
  std::uint64_t vcpus = record.vcpus();
  std::uint64_t memory = record.memory_bytes();
  for (const auto& running : running_) {
    vcpus += running.record.vcpus();
    memory += running.record.memory_bytes();
  }
  return running_.size() < options_.limits.runs && vcpus <= options_.limits.vcpus &&
         memory <= options_.limits.memory_bytes;
}

bool RunQueue::client_has_its_share(const std::string& client) const {
  const auto running =
      std::ranges::count_if(running_, [&](const Running& one) { return one.record.client() == client; });
  return static_cast<std::size_t>(running) >= options_.limits.runs_of_a_client;
}

Result<std::optional<v1::RunRecord>> RunQueue::next_run() {
  if (running_.size() >= options_.limits.runs) return std::optional<v1::RunRecord>();
  for (auto& record : TRY(store_.queued(kLookAhead))) {
    // Others need not wait for a client that has enough of its own under way.
    if (client_has_its_share(record.client())) continue;
    // No smaller run is let past: a large one would wait for ever.
    if (!has_room_for(record)) break;
    return std::optional<v1::RunRecord>(std::move(record));
  }
  return std::optional<v1::RunRecord>();
}

Result<> RunQueue::start_run(v1::RunRecord record) {
  const RunId id = id_of(record);
  record.set_state(v1::RUN_STATE_RUNNING);
  *record.mutable_start_time() = TimeUtil::GetCurrentTime();
  TRY(store_.update(id, record));
  auto started = start_process(id, record);
  if (!started) {
    TRY(conclude(id, v1::RUN_STATE_FAILED, started.error().message(), kErrorStatus));
    watchers_.notify(id, true);
    return {};
  }
  log(LogLevel::kInfo, fmt::format("{} begins", run_name(id)), id);
  running_.push_back(*std::move(started));
  ++under_way_;
  return {};
}

Result<> RunQueue::start_runs() {
  const std::lock_guard lock(mutex_);
  while (!stopping_ && !draining_) {
    auto record = TRY(next_run());
    if (!record) break;
    TRY(start_run(*std::move(record)));
  }
  return {};
}

void RunQueue::end_those_that_have_to(Running& running) {
  if (running.kill_at && steady_clock::now() >= *running.kill_at) {
    log(LogLevel::kWarning, fmt::format("{} does not end its guests and is killed", run_name(running.id)), running.id);
    running.process.signal(SIGKILL);
    running.kill_at = steady_clock::now() + options_.grace;
  }
  const std::lock_guard lock(mutex_);
  if ((stopping_ || cancelled_.contains(running.id)) && !running.kill_at) {
    running.process.signal(SIGTERM);
    running.kill_at = steady_clock::now() + options_.grace;
  }
}

void RunQueue::wait_for_something() {
  std::vector<pollfd> waits = {{wake_.get(), POLLIN, 0}};
  auto until = tidied_at_ + kTidyEvery;
  for (const auto& running : running_) {
    waits.push_back({running.process.pidfd(), POLLIN, 0});
    waits.push_back({running.journal_watch.get(), POLLIN, 0});
    if (running.kill_at) until = std::min(until, *running.kill_at);
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady_clock::now()).count();
  const int ready = ::poll(waits.data(), waits.size(), static_cast<int>(std::max<std::int64_t>(left, 0)));
  if (ready < 0) return;
  if (waits[0].revents != 0) {
    empty_out(wake_.get());
    look_at_queue_ = true;
  }
  std::list<Running> ended;
  auto wait = waits.begin() + 1;
  for (auto running = running_.begin(); running != running_.end();) {
    const auto one = running++;
    const bool process_ended = (wait++)->revents != 0;
    if ((wait++)->revents != 0) {
      empty_out(one->journal_watch.get());
      watchers_.notify(one->id, false);
    }
    if (process_ended) {
      ended.splice(ended.end(), running_, one);
    } else {
      end_those_that_have_to(*one);
    }
  }
  for (auto& one : ended) finish(one);
}

void RunQueue::finish(Running& running) {
  const RunId id = running.id;
  const auto status = running.process.wait();
  constexpr int kBySignal = 128;
  if (options_.end_leftovers && (!status || *status > kBySignal)) {
    const auto ended = options_.end_leftovers();
    if (!ended) log(LogLevel::kError, ended.error().message(), id);
  }
  {
    const std::lock_guard lock(mutex_);
    Result<> concluded;
    if (cancelled_.contains(id)) {
      concluded = conclude(id, v1::RUN_STATE_CANCELLED, "cancelled", kInterruptedStatus);
    } else if (stopping_) {
      concluded = conclude(id, v1::RUN_STATE_INTERRUPTED, "the server was stopped", kInterruptedStatus);
    } else {
      const auto why = status ? fmt::format("the run's process ended with status {} and without a result", *status)
                              : status.error().message();
      concluded = conclude(id, v1::RUN_STATE_FAILED, why, kErrorStatus);
    }
    cancelled_.erase(id);
    --under_way_;
    // The next start finds it as running and tries again.
    if (!concluded) log(LogLevel::kError, concluded.error().message(), id);
  }
  idle_.notify_all();
  watchers_.notify(id, true);
  look_at_queue_ = true;
  tidy();
}

Result<> RunQueue::conclude(RunId id, v1::RunState otherwise, std::string_view why, int exit_status) {
  auto record = TRY(store_.get(id));
  if (!record) return host_error("{} has ended and is not there", run_name(id));
  record->set_state(otherwise);
  record->set_error(std::string(why));
  record->set_exit_status(exit_status);
  // A journal that cannot be read tells nothing.
  const auto last = harness::last_run_event(folder(id) / harness::kRunJournalFile);
  if (last && *last && (*last)->has_conclusion()) {
    const auto& conclusion = (*last)->conclusion();
    *record->mutable_counts() = conclusion.counts();
    if (conclusion.exit_status() != kInterruptedStatus) {
      record->set_state(conclusion.error().empty() ? v1::RUN_STATE_FINISHED : v1::RUN_STATE_FAILED);
      record->set_error(conclusion.error());
      record->set_exit_status(conclusion.exit_status());
    }
  }
  *record->mutable_end_time() = TimeUtil::GetCurrentTime();
  TRY(store_.update(id, *record));
  if (options_.ended) options_.ended(*record);
  log(LogLevel::kInfo,
      fmt::format("{} has ended: {}{}{}", run_name(id), v1::RunState_Name(record->state()),
                  record->error().empty() ? "" : ": ", record->error()),
      id);
  return {};
}

void RunQueue::tidy() {
  tidied_at_ = steady_clock::now();
  if (options_.tidy) options_.tidy();
}

void RunQueue::work() {
  tidy();
  while (true) {
    if (running_.empty()) {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    // Only what was queued or has ended can make a difference: a run that writes its journal does not.
    const auto started = std::exchange(look_at_queue_, false) ? start_runs() : Result<>();
    // With the next thing that happens.
    if (!started) look_at_queue_ = true;
    if (!started && options_.log) {
      options_.log(
          {.level = LogLevel::kError, .message = "the queue stands still: " + started.error().message(), .fields = {}});
    }
    wait_for_something();
    if (steady_clock::now() >= tidied_at_ + kTidyEvery) tidy();
  }
}

}  // namespace panicroom::service
