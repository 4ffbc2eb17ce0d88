#include "harness/service/run_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/testing/temporary_directory.h"

namespace panicroom::service {
namespace {

using testing::ElementsAre;

constexpr RunId kNewest{std::numeric_limits<std::int64_t>::max()};

class RunStoreTest : public testing::Test {
 protected:
  void SetUp() override { open(); }

  void open() {
    store_.reset();
    auto opened = RunStore::open(path_);
    ASSERT_TRUE(opened) << opened.error().message();
    store_ = *std::move(opened);
  }

  AddedRun try_add(const std::string& client, const QueueLimits& limits, const RequestMark& mark = {}) {
    v1::RunRecord record;
    record.set_client(client);
    auto added = store_->add(std::move(record), limits, mark, [](RunId) { return Result<>(); });
    EXPECT_TRUE(added);
    return *std::move(added);
  }
  std::string add(std::size_t limit = 100) { return try_add("a", {.all = limit, .client = limit}).record.name(); }

  void set_state(RunId id, v1::RunState state) {
    auto record = store_->get(id).value().value();
    record.set_state(state);
    ASSERT_TRUE(store_->update(id, record));
  }

  std::vector<std::string> names(v1::RunState state, RunId before, std::size_t limit) {
    std::vector<std::string> names;
    const auto records = store_->list(state, before, limit).value();
    names.reserve(records.size());
    for (const auto& record : records) names.push_back(record.name());
    return names;
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_.path() / "runs.sqlite";
  std::unique_ptr<RunStore> store_;
};

TEST_F(RunStoreTest, WhatWasAddedIsThereAfterAnEnd) {
  EXPECT_EQ(add(), "runs/1");
  EXPECT_EQ(add(), "runs/2");
  set_state(RunId(1), v1::RUN_STATE_RUNNING);
  const ProcessIdentity process{.pid = 7, .started = 8, .boot_id = "boot"};
  ASSERT_TRUE(store_->set_process(RunId(1), process));
  open();
  const auto record = store_->get(RunId(1)).value();
  ASSERT_TRUE(record);
  EXPECT_EQ(record->state(), v1::RUN_STATE_RUNNING);
  EXPECT_TRUE(record->has_create_time());
  EXPECT_EQ(store_->process(RunId(1)).value(), process);
  EXPECT_FALSE(store_->process(RunId(2)).value());
  EXPECT_FALSE(store_->get(RunId(3)).value());
  EXPECT_EQ(add(), "runs/3");
}

TEST_F(RunStoreTest, WhatCannotBePreparedIsNotAdded) {
  const auto failed =
      store_->add({}, {.all = 100, .client = 100}, {}, [](RunId) -> Result<> { return host_error("full"); });
  EXPECT_FALSE(failed);
  EXPECT_FALSE(store_->oldest(v1::RUN_STATE_QUEUED).value());
}

TEST_F(RunStoreTest, TheQueueHasAnEnd) {
  EXPECT_EQ(add(2), "runs/1");
  EXPECT_EQ(add(2), "runs/2");
  EXPECT_EQ(add(2), "");
  set_state(RunId(1), v1::RUN_STATE_RUNNING);
  EXPECT_NE(add(2), "");
}

TEST_F(RunStoreTest, AClientHasAShareOfTheQueue) {
  const QueueLimits limits{.all = 3, .client = 2};
  using Outcome = AddedRun::Outcome;
  EXPECT_EQ(try_add("a", limits).outcome, Outcome::kAdded);
  EXPECT_EQ(try_add("a", limits).outcome, Outcome::kAdded);
  EXPECT_EQ(try_add("a", limits).outcome, Outcome::kClientQueueFull);
  EXPECT_EQ(try_add("b", limits).outcome, Outcome::kAdded);
  EXPECT_EQ(try_add("b", limits).outcome, Outcome::kQueueFull);
  set_state(RunId(1), v1::RUN_STATE_RUNNING);
  EXPECT_EQ(try_add("a", limits).outcome, Outcome::kAdded);
}

TEST_F(RunStoreTest, ARequestThatIsRepeatedIsTheSameRun) {
  using Outcome = AddedRun::Outcome;
  const QueueLimits limits{.all = 9, .client = 9};
  EXPECT_EQ(try_add("a", limits, {.id = "x", .digest = "1"}).record.name(), "runs/1");
  const auto again = try_add("a", limits, {.id = "x", .digest = "1"});
  EXPECT_EQ(again.outcome, Outcome::kThereAlready);
  EXPECT_EQ(again.record.name(), "runs/1");
  EXPECT_EQ(try_add("a", limits, {.id = "x", .digest = "2"}).outcome, Outcome::kAnotherRequest);
  EXPECT_EQ(try_add("b", limits, {.id = "x", .digest = "2"}).record.name(), "runs/2");
  EXPECT_EQ(try_add("a", limits).record.name(), "runs/3");
  EXPECT_EQ(try_add("a", limits).record.name(), "runs/4");
  open();
  EXPECT_EQ(store_->find("a", {.id = "x", .digest = "1"}).value()->record.name(), "runs/1");
  EXPECT_FALSE(store_->find("b", {.id = "y", .digest = "1"}).value());
}

TEST_F(RunStoreTest, WhatHasEndedIsListedByItsEndAndCanBeForgotten) {
  for (int i = 0; i < 4; ++i) add();
  const auto end = [&](RunId id, std::int64_t seconds) {
    auto record = store_->get(id).value().value();
    record.set_state(v1::RUN_STATE_FINISHED);
    record.mutable_end_time()->set_seconds(seconds);
    ASSERT_TRUE(store_->update(id, record));
  };
  end(RunId(1), 30);
  end(RunId(3), 20);
  set_state(RunId(2), v1::RUN_STATE_RUNNING);
  const auto ended = store_->ended().value();
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_EQ(ended[0].id, RunId(3));
  EXPECT_EQ(ended[0].end_seconds, 20);
  EXPECT_EQ(ended[1].id, RunId(1));
  EXPECT_EQ(store_->counts().value()[v1::RUN_STATE_FINISHED], 2u);
  EXPECT_TRUE(store_->remove(RunId(3)).value());
  EXPECT_FALSE(store_->remove(RunId(3)).value());
  // Neither what runs nor what waits.
  EXPECT_FALSE(store_->remove(RunId(2)).value());
  EXPECT_FALSE(store_->remove(RunId(4)).value());
  EXPECT_FALSE(store_->get(RunId(3)).value());
  EXPECT_EQ(store_->queued(9).value().size(), 1u);
}

TEST_F(RunStoreTest, ADatabaseOfTheVersionBeforeIsTakenOver) {
  store_.reset();
  std::filesystem::remove(path_);
  {
    auto database = Database::open(path_).value();
    ASSERT_TRUE(
        database.run("CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, state INTEGER NOT NULL, record "
                     "BLOB NOT NULL, process_pid INTEGER, process_started INTEGER, process_boot TEXT)"));
    ASSERT_TRUE(database.run("CREATE INDEX runs_by_state ON runs (state, id)"));
    ASSERT_TRUE(database.run("INSERT INTO runs (state, record) VALUES (3, x'')"));
    ASSERT_TRUE(database.run("PRAGMA user_version = 1"));
  }
  open();
  const auto ended = store_->ended().value();
  ASSERT_EQ(ended.size(), 1u);
  // Not as if it had ended in 1970: it would be the first to be removed.
  EXPECT_GT(ended[0].end_seconds, 1'600'000'000);
  EXPECT_EQ(add(), "runs/2");
}

TEST_F(RunStoreTest, ADatabaseOfALaterVersionIsLeftAlone) {
  store_.reset();
  ASSERT_TRUE(Database::open(path_).value().run("PRAGMA user_version = 99"));
  EXPECT_FALSE(RunStore::open(path_));
}

TEST_F(RunStoreTest, ListsTheNewestFirst) {
  for (int i = 0; i < 5; ++i) add();
  set_state(RunId(2), v1::RUN_STATE_FINISHED);
  set_state(RunId(4), v1::RUN_STATE_FINISHED);
  EXPECT_THAT(names(v1::RUN_STATE_UNSPECIFIED, kNewest, 2), ElementsAre("runs/5", "runs/4"));
  EXPECT_THAT(names(v1::RUN_STATE_UNSPECIFIED, RunId(4), 9), ElementsAre("runs/3", "runs/2", "runs/1"));
  EXPECT_THAT(names(v1::RUN_STATE_FINISHED, kNewest, 9), ElementsAre("runs/4", "runs/2"));
  EXPECT_EQ(store_->oldest(v1::RUN_STATE_QUEUED).value(), RunId(1));
}

TEST_F(RunStoreTest, DamageIsAnError) {
  store_.reset();
  ASSERT_TRUE(write_file(path_, std::string(5000, 'x')));
  EXPECT_FALSE(RunStore::open(path_));
}

}  // namespace
}  // namespace panicroom::service
