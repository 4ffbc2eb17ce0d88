#include "harness/service/run_queue.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

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

void drain(int fd) {
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

void RunQueue::log(std::string_view line) const {
  if (options_.log) options_.log(line);
}

Result<> RunQueue::recover() {
  while (true) {
    const auto id = TRY(store_.oldest(v1::RUN_STATE_RUNNING));
    if (!id) break;
    if (const auto process = TRY(store_.process(*id))) TRY(end_stale_process(*process, options_.grace));
    TRY(conclude(*id, v1::RUN_STATE_INTERRUPTED, "the server was killed while it ran", kInterruptedStatus));
    log(fmt::format("{} was under way when the server before this one was killed", run_name(*id)));
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

void RunQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake();
  if (thread_.joinable()) thread_.join();
}

Result<std::optional<v1::RunRecord>> RunQueue::cancel(RunId id) {
  const std::lock_guard lock(mutex_);
  auto record = TRY(store_.get(id));
  if (!record) return record;
  if (record->state() == v1::RUN_STATE_RUNNING) {
    cancelled_ = id;
    wake();
  } else if (record->state() == v1::RUN_STATE_QUEUED) {
    record->set_state(v1::RUN_STATE_CANCELLED);
    record->set_exit_status(kInterruptedStatus);
    record->set_error("cancelled before it began");
    *record->mutable_end_time() = TimeUtil::GetCurrentTime();
    TRY(store_.update(id, *record));
    watchers_.notify(id, true);
  }
  return record;
}

Result<RunQueue::Current> RunQueue::start_process(RunId id, const v1::RunRecord& record) {
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
  return Current{.id = id, .process = std::move(process), .kill_at = {}, .journal_watch = std::move(journal_watch)};
}

Result<bool> RunQueue::start_next() {
  const std::lock_guard lock(mutex_);
  if (stopping_) return false;
  const auto id = TRY(store_.oldest(v1::RUN_STATE_QUEUED));
  if (!id) return false;
  auto record = TRY(store_.get(*id));
  if (!record) return host_error("{} is queued and not there", run_name(*id));
  record->set_state(v1::RUN_STATE_RUNNING);
  *record->mutable_start_time() = TimeUtil::GetCurrentTime();
  TRY(store_.update(*id, *record));
  auto started = start_process(*id, *record);
  if (!started) {
    TRY(conclude(*id, v1::RUN_STATE_FAILED, started.error().message(), kErrorStatus));
    watchers_.notify(*id, true);
    return true;
  }
  log(fmt::format("{} begins", run_name(*id)));
  current_.emplace(*std::move(started));
  return true;
}

void RunQueue::wait_for_something() {
  std::array<pollfd, 3> waits = {pollfd{wake_.get(), POLLIN, 0}, pollfd{-1, POLLIN, 0}, pollfd{-1, POLLIN, 0}};
  int timeout = -1;
  if (current_) {
    waits[1].fd = current_->process.pidfd();
    waits[2].fd = current_->journal_watch.get();
    if (current_->kill_at) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*current_->kill_at - steady_clock::now()).count();
      timeout = left > 0 ? static_cast<int>(left) : 0;
    }
  }
  const int ready = ::poll(waits.data(), waits.size(), timeout);
  if (ready < 0) return;
  if (waits[0].revents != 0) drain(wake_.get());
  if (!current_) return;
  if (waits[2].revents != 0) {
    drain(current_->journal_watch.get());
    watchers_.notify(current_->id, false);
  }
  if (waits[1].revents != 0) {
    end_current();
    return;
  }
  if (current_->kill_at && steady_clock::now() >= *current_->kill_at) {
    log(fmt::format("{} does not end its guests and is killed", run_name(current_->id)));
    current_->process.signal(SIGKILL);
    current_->kill_at = steady_clock::now() + options_.grace;
  }
  const std::lock_guard lock(mutex_);
  if ((stopping_ || cancelled_ == current_->id) && !current_->kill_at) {
    current_->process.signal(SIGTERM);
    current_->kill_at = steady_clock::now() + options_.grace;
  }
}

void RunQueue::end_current() {
  const RunId id = current_->id;
  const auto status = current_->process.wait();
  current_.reset();
  constexpr int kBySignal = 128;
  if (options_.end_leftovers && (!status || *status > kBySignal)) {
    const auto ended = options_.end_leftovers();
    if (!ended) log(ended.error().message());
  }
  {
    const std::lock_guard lock(mutex_);
    Result<> concluded;
    if (cancelled_ == id) {
      concluded = conclude(id, v1::RUN_STATE_CANCELLED, "cancelled", kInterruptedStatus);
    } else if (stopping_) {
      concluded = conclude(id, v1::RUN_STATE_INTERRUPTED, "the server was stopped", kInterruptedStatus);
    } else {
      const auto why = status ? fmt::format("the run's process ended with status {} and without a result", *status)
                              : status.error().message();
      concluded = conclude(id, v1::RUN_STATE_FAILED, why, kErrorStatus);
    }
    cancelled_.reset();
    // The next start finds it as running and tries again.
    if (!concluded) log(fmt::format("{}: {}", run_name(id), concluded.error().message()));
  }
  watchers_.notify(id, true);
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
  log(fmt::format("{} has ended: {}{}{}", run_name(id), v1::RunState_Name(record->state()),
                  record->error().empty() ? "" : ": ", record->error()));
  return {};
}

void RunQueue::work() {
  while (true) {
    if (!current_) {
      {
        const std::lock_guard lock(mutex_);
        if (stopping_) return;
      }
      const auto started = start_next();
      if (!started) log(fmt::format("the queue stands still: {}", started.error().message()));
      if (started && *started) continue;
    }
    wait_for_something();
  }
}

}  // namespace panicroom::service
