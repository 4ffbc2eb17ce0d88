#include "harness/service/run_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <future>
#include <optional>

#include "base/testing/temporary_directory.h"
#include "harness/events/run_journal.h"
#include "harness/service/fake_runner.h"

namespace panicroom::service {
namespace {

class RunQueueTest : public testing::Test {
 protected:
  void SetUp() override {
    store_ = RunStore::open(directory_.path() / "runs.sqlite").value();
    std::filesystem::create_directory(directory_.path() / "fake");
    runner_.emplace(directory_.path() / "fake");
    open();
  }

  void open(std::chrono::seconds grace = std::chrono::seconds(60), const RunningLimits& limits = {}) {
    queue_.reset();
    queue_.emplace(*store_, watchers_,
                   RunQueueOptions{.runs = directory_.path(),
                                   .command =
                                       [this](const v1::RunRecord&, const std::filesystem::path& folder) {
                                         auto argv = runner_->program();
                                         argv.push_back("--out=" + (folder / "out").string());
                                         argv.push_back("--journal=" + (folder / harness::kRunJournalFile).string());
                                         return argv;
                                       },
                                   .limits = limits,
                                   .log = {},
                                   .ended = [this](const v1::RunRecord&) { ++ended_; },
                                   .tidy = [this] { ++tidied_; },
                                   .end_leftovers =
                                       [this] {
                                         ++leftovers_;
                                         return Result<>();
                                       },
                                   .grace = grace});
  }

  RunId add(const std::string& client = "a", std::uint32_t vcpus = 1) {
    v1::RunRecord record;
    record.set_client(client);
    record.set_vcpus(vcpus);
    const auto added = store_->add(std::move(record), {.all = 100, .client = 100}, {}, [this](RunId id) {
      std::filesystem::create_directories(queue_->folder(id) / kScenariosFolder);
      return Result<>();
    });
    queue_->wake();
    return parse_run_name(added->record.name()).value();
  }

  // Returns when the run has ended.
  v1::RunRecord ended(RunId id) {
    std::promise<void> end;
    std::atomic<bool> told = false;
    const auto tell = [&] {
      if (!told.exchange(true)) end.set_value();
    };
    const auto watching = watchers_.watch(id, "test", [&](bool run_ended) {
      if (run_ended) tell();
    });
    if (is_final(get(id).state())) tell();
    end.get_future().wait();
    return get(id);
  }

  v1::RunRecord get(RunId id) { return store_->get(id).value().value(); }

  TemporaryDirectory directory_;
  std::unique_ptr<RunStore> store_;
  RunWatchers watchers_;
  std::optional<FakeRunner> runner_;
  std::optional<RunQueue> queue_;
  std::atomic<int> leftovers_ = 0;
  std::atomic<int> ended_ = 0;
  std::atomic<int> tidied_ = 0;
};

TEST_F(RunQueueTest, RunsAreCarriedOutInTheirOrder) {
  runner_->prepare({.after = {conclusion(0, "", 2)}, .waits = false});
  const auto first = add();
  const auto second = add();
  ASSERT_TRUE(queue_->start());
  const auto record = ended(second);
  EXPECT_EQ(record.state(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(record.counts().passed(), 2u);
  EXPECT_EQ(get(first).state(), v1::RUN_STATE_FINISHED);
  EXPECT_LE(get(first).end_time().seconds(), record.start_time().seconds());
  queue_->stop();
  EXPECT_EQ(ended_, 2);
  EXPECT_EQ(tidied_, 3);
  EXPECT_EQ(leftovers_, 0);
}

TEST_F(RunQueueTest, TheRunsOwnStatusDecides) {
  runner_->prepare({.after = {conclusion(1, "", 1)}, .waits = false, .exit_status = 1});
  ASSERT_TRUE(queue_->start());
  const auto failed = ended(add());
  EXPECT_EQ(failed.state(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(failed.exit_status(), 1);

  runner_->prepare({.after = {conclusion(2, "no such kernel")}, .waits = false, .exit_status = 2});
  const auto refused = ended(add());
  EXPECT_EQ(refused.state(), v1::RUN_STATE_FAILED);
  EXPECT_EQ(refused.exit_status(), 2);
  EXPECT_EQ(refused.error(), "no such kernel");
}

TEST_F(RunQueueTest, AProcessThatEndsWithoutAWordIsAFailure) {
  runner_->prepare({.before = {notice("x")}, .waits = false, .exit_status = 139});
  ASSERT_TRUE(queue_->start());
  const auto record = ended(add());
  EXPECT_EQ(record.state(), v1::RUN_STATE_FAILED);
  EXPECT_EQ(record.exit_status(), 3);
  EXPECT_THAT(record.error(), testing::HasSubstr("139"));
  EXPECT_EQ(leftovers_, 1);
}

TEST_F(RunQueueTest, CancelEndsTheRunAndNotTheNext) {
  runner_->prepare({.after = {conclusion(0)}});
  ASSERT_TRUE(queue_->start());
  const auto first = add();
  std::optional<FakeRunner::Waiting> waiting(runner_->wait_for_run());
  const auto second = add();
  const auto third = add();
  EXPECT_EQ(queue_->cancel(third).value()->state(), v1::RUN_STATE_CANCELLED);
  EXPECT_EQ(queue_->cancel(first).value()->state(), v1::RUN_STATE_RUNNING);
  EXPECT_EQ(ended(first).state(), v1::RUN_STATE_CANCELLED);
  EXPECT_EQ(get(first).exit_status(), 130);
  waiting.reset();
  { const auto next = runner_->wait_for_run(); }
  EXPECT_EQ(ended(second).state(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(queue_->cancel(second).value()->state(), v1::RUN_STATE_FINISHED);
  EXPECT_FALSE(queue_->cancel(RunId(99)).value());
}

TEST_F(RunQueueTest, AsManyRunAtATimeAsTheLimitsTake) {
  open(std::chrono::seconds(60), {.runs = 3, .runs_of_a_client = 2, .vcpus = 8, .memory_bytes = 1});
  runner_->prepare({.after = {conclusion(0)}});
  const auto a1 = add("a");
  const auto a2 = add("a");
  const auto a3 = add("a");        // More than its share.
  const auto large = add("b", 7);  // No room beside two.
  const auto small = add("c", 1);  // Would fit, and is not let past.
  ASSERT_TRUE(queue_->start());
  const auto waiting = runner_->wait_for_run();
  // All that may begin at a time do so under the queue's lock, which this takes.
  EXPECT_FALSE(queue_->cancel(RunId(99)).value());
  EXPECT_EQ(get(a1).state(), v1::RUN_STATE_RUNNING);
  EXPECT_EQ(get(a2).state(), v1::RUN_STATE_RUNNING);
  EXPECT_EQ(get(a3).state(), v1::RUN_STATE_QUEUED);
  EXPECT_EQ(get(large).state(), v1::RUN_STATE_QUEUED);
  EXPECT_EQ(get(small).state(), v1::RUN_STATE_QUEUED);
  runner_->prepare({.after = {conclusion(0)}, .waits = false});
  ASSERT_TRUE(queue_->cancel(a1));
  ASSERT_TRUE(queue_->cancel(a2));
  for (const auto id : {a1, a2}) EXPECT_EQ(ended(id).state(), v1::RUN_STATE_CANCELLED);
  for (const auto id : {a3, large, small}) EXPECT_EQ(ended(id).state(), v1::RUN_STATE_FINISHED);
}

TEST_F(RunQueueTest, ARunThatIsTooLargeIsCarriedOutAlone) {
  open(std::chrono::seconds(60), {.runs = 3, .runs_of_a_client = 3, .vcpus = 2, .memory_bytes = 1});
  runner_->prepare({.after = {conclusion(0)}, .waits = false});
  const auto id = add("a", 7);
  ASSERT_TRUE(queue_->start());
  EXPECT_EQ(ended(id).state(), v1::RUN_STATE_FINISHED);
}

TEST_F(RunQueueTest, ADrainedQueueEndsWhatRunsAndBeginsNothing) {
  runner_->prepare({.after = {conclusion(0)}});
  ASSERT_TRUE(queue_->start());
  const auto first = add();
  std::optional<FakeRunner::Waiting> waiting(runner_->wait_for_run());
  const auto second = add();
  // Nothing ends it: the time is up at once.
  queue_->drain(std::chrono::steady_clock::now());
  EXPECT_EQ(get(first).state(), v1::RUN_STATE_RUNNING);
  waiting.reset();
  queue_->drain(std::chrono::steady_clock::now() + std::chrono::hours(1));
  EXPECT_EQ(get(first).state(), v1::RUN_STATE_FINISHED);
  queue_->stop();
  EXPECT_EQ(get(second).state(), v1::RUN_STATE_QUEUED);
}

TEST_F(RunQueueTest, AProcessThatDoesNotEndIsKilled) {
  open(std::chrono::seconds(0));
  runner_->prepare({.stubborn = true});
  ASSERT_TRUE(queue_->start());
  const auto id = add();
  const auto waiting = runner_->wait_for_run();
  ASSERT_TRUE(queue_->cancel(id));
  EXPECT_EQ(ended(id).state(), v1::RUN_STATE_CANCELLED);
  EXPECT_EQ(leftovers_, 1);
}

TEST_F(RunQueueTest, StopInterruptsTheRunAndKeepsTheQueue) {
  runner_->prepare({.after = {conclusion(0)}});
  ASSERT_TRUE(queue_->start());
  const auto first = add();
  const auto waiting = runner_->wait_for_run();
  const auto second = add();
  queue_->stop();
  EXPECT_EQ(get(first).state(), v1::RUN_STATE_INTERRUPTED);
  EXPECT_EQ(get(second).state(), v1::RUN_STATE_QUEUED);
}

TEST_F(RunQueueTest, WhatAKilledServerLeftIsEndedAndToldAndTheQueueGoesOn) {
  runner_->prepare({.after = {conclusion(0)}, .stubborn = true});
  const auto first = add();
  const auto second = add();
  auto record = get(first);
  record.set_state(v1::RUN_STATE_RUNNING);
  ASSERT_TRUE(store_->update(first, record));
  // The process of the first run, and nobody who knows it.
  auto process = ChildProcess::prepare({.argv = runner_->program(),
                                        .directory = directory_.path(),
                                        .out = directory_.path() / "o",
                                        .err = directory_.path() / "e"});
  ASSERT_TRUE(process && store_->set_process(first, process->identity()) && process->go());
  std::optional<FakeRunner::Waiting> waiting(runner_->wait_for_run());
  open(std::chrono::seconds(0));
  ASSERT_TRUE(queue_->recover());
  EXPECT_EQ(process->wait().value(), 128 + SIGKILL);
  EXPECT_EQ(get(first).state(), v1::RUN_STATE_INTERRUPTED);
  EXPECT_EQ(get(first).exit_status(), 130);
  EXPECT_EQ(leftovers_, 1);
  waiting.reset();
  ASSERT_TRUE(queue_->start());
  { const auto next = runner_->wait_for_run(); }
  EXPECT_EQ(ended(second).state(), v1::RUN_STATE_FINISHED);
}

TEST_F(RunQueueTest, ARunThatWasFinishedWhenTheServerWasKilledIsFinished) {
  const auto id = add();
  auto record = get(id);
  record.set_state(v1::RUN_STATE_RUNNING);
  ASSERT_TRUE(store_->update(id, record));
  (*harness::RunJournal::create(queue_->folder(id) / harness::kRunJournalFile))->write(conclusion(0, "", 4));
  ASSERT_TRUE(queue_->recover());
  EXPECT_EQ(get(id).state(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(get(id).counts().passed(), 4u);
}

}  // namespace
}  // namespace panicroom::service
