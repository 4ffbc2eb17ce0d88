#include "harness/service/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/testing/temporary_directory.h"

namespace panicroom::service {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class RetentionTest : public testing::Test {
 protected:
  void SetUp() override { store_ = RunStore::open(directory_.path() / "runs.sqlite").value(); }

  // A run whose files have so many bytes; `end`: when it ended, nothing: it has not.
  RunId add(std::size_t bytes, std::optional<std::int64_t> end) {
    const auto added = store_->add({}, {.all = 99, .client = 99}, {}, [&](RunId id) -> Result<> {
      TRY(make_directories(folder(id) / "out"));
      return write_file(folder(id) / "out/file", std::string(bytes, 'x'));
    });
    auto record = added->record;
    const auto id = parse_run_name(record.name()).value();
    if (end) {
      record.set_state(v1::RUN_STATE_FAILED);
      record.mutable_end_time()->set_seconds(*end);
      EXPECT_TRUE(store_->update(id, record));
    }
    return id;
  }
  std::filesystem::path folder(RunId id) const { return directory_.path() / std::to_string(number(id)); }

  // The numbers of what it removes.
  std::vector<std::int64_t> removed(const RetentionPolicy& policy, std::int64_t now) {
    std::vector<std::int64_t> numbers;
    EXPECT_TRUE(remove_old_runs(
        *store_, policy, std::chrono::sys_seconds(seconds(now)), [&](RunId id) { return folder(id); },
        [&](RunId id) {
          numbers.push_back(number(id));
          EXPECT_FALSE(std::filesystem::exists(folder(id)));
          EXPECT_FALSE(store_->get(id).value());
        }));
    return numbers;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<RunStore> store_;
};

TEST_F(RetentionTest, WithoutAPolicyEverythingStays) {
  add(100, 1);
  EXPECT_THAT(removed({}, 1'000'000'000), IsEmpty());
}

TEST_F(RetentionTest, WhatIsTooOldGoes) {
  add(1, 100);
  add(1, 50);
  add(1, 200);
  add(1, std::nullopt);
  EXPECT_THAT(removed({.age = seconds(100), .bytes = {}}, 200), ElementsAre(2));
  EXPECT_THAT(removed({.age = seconds(100), .bytes = {}}, 200), IsEmpty());
  EXPECT_THAT(removed({.age = seconds(0), .bytes = {}}, 1000), ElementsAre(1, 3));
  EXPECT_TRUE(std::filesystem::exists(folder(RunId(4))));
}

TEST_F(RetentionTest, WhatEndedFirstGoesUntilTheRestFits) {
  add(1000, 30);
  add(1000, 10);
  add(1000, 20);
  add(5000, std::nullopt);
  EXPECT_THAT(removed({.age = {}, .bytes = 2000}, 40), ElementsAre(2));
  EXPECT_THAT(removed({.age = {}, .bytes = 1999}, 40), ElementsAre(3));
  // The last one stays, or nobody would ever see a large run's result.
  EXPECT_THAT(removed({.age = {}, .bytes = 1}, 40), IsEmpty());
}

}  // namespace
}  // namespace panicroom::service
