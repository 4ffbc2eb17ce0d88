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

  std::string add(std::size_t limit = 100) {
    const auto added = store_->add({}, limit, [](RunId) { return Result<>(); });
    EXPECT_TRUE(added);
    return added && *added ? (*added)->name() : "";
  }

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
  const auto failed = store_->add({}, 100, [](RunId) -> Result<> { return host_error("full"); });
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
