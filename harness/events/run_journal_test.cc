#include "harness/events/run_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "base/testing/temporary_directory.h"
#include "harness/events/journalled_progress.h"

namespace panicroom::harness {
namespace {

class RunJournalTest : public testing::Test {
 protected:
  void SetUp() override {
    auto journal = RunJournal::create(path_);
    ASSERT_TRUE(journal) << journal.error().message();
    journal_ = *std::move(journal);
  }

  void notice(const std::string& text) {
    v1::RunEvent event;
    event.mutable_notice()->set_text(text);
    journal_->write(std::move(event));
  }

  RunJournalReader reader() {
    auto reader = RunJournalReader::open(path_);
    EXPECT_TRUE(reader);
    return *std::move(reader);
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_.path() / kRunJournalFile;
  std::unique_ptr<RunJournal> journal_;
};

TEST_F(RunJournalTest, IsReadWhileItIsWritten) {
  auto reading = reader();
  EXPECT_FALSE(reading.next().value());
  notice("a");
  notice("b");
  EXPECT_EQ(reading.next().value()->notice().text(), "a");
  const auto second = reading.next().value();
  EXPECT_EQ(second->sequence(), 2u);
  EXPECT_TRUE(second->has_time());
  EXPECT_FALSE(reading.next().value());
  notice("c");
  EXPECT_TRUE(reading.skip().value());
  EXPECT_EQ(reading.sequence(), 3u);
  EXPECT_FALSE(reading.skip().value());
}

TEST_F(RunJournalTest, AnEventThatIsCutOffIsNotThereYet) {
  notice("first");
  const auto whole = std::filesystem::file_size(path_);
  notice("second");
  const auto both = std::filesystem::file_size(path_);
  for (auto size = both - 1; size >= whole; --size) {
    std::filesystem::resize_file(path_, size);
    auto reading = reader();
    EXPECT_TRUE(reading.next().value());
    EXPECT_FALSE(reading.next().value()) << size;
    EXPECT_FALSE(reading.skip().value()) << size;
    EXPECT_EQ(last_run_event(path_).value()->notice().text(), "first");
  }
}

TEST_F(RunJournalTest, TheLastEventOfNoneIsNone) {
  EXPECT_FALSE(last_run_event(path_).value());
  EXPECT_FALSE(last_run_event(directory_.path() / "absent").value());
  notice("only");
  EXPECT_EQ(last_run_event(path_).value()->notice().text(), "only");
}

TEST_F(RunJournalTest, DamageIsAnError) {
  ASSERT_TRUE(write_file(path_, std::string("\x04\0\0\0\xff\xff\xff\xff", 8)));
  EXPECT_EQ(reader().next().error().kind(), ErrorKind::kHost);
  ASSERT_TRUE(write_file(path_, "\xff\xff\xff\xff and more"));
  EXPECT_EQ(reader().next().error().kind(), ErrorKind::kHost);
  EXPECT_EQ(reader().skip().error().kind(), ErrorKind::kHost);
}

TEST_F(RunJournalTest, WhatGuestsWriteIsBoundedAndReadBack) {
  notice("no UTF-8: \xff");
  notice(std::string(kMaxRunEventBytes, 'x'));
  auto reading = reader();
  EXPECT_EQ(reading.next().value()->notice().text(), "no UTF-8: \xef\xbf\xbd");
  EXPECT_THAT(reading.next().value()->notice().text(), testing::HasSubstr("left out"));
}

TEST_F(RunJournalTest, ThreadsGetNumbersWithoutGaps) {
  {
    std::vector<std::jthread> threads;
    constexpr int kThreads = 4;
    threads.reserve(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([this] {
        for (int n = 0; n < 100; ++n) notice("x");
      });
    }
  }
  auto reading = reader();
  for (std::uint64_t n = 1; n <= 400; ++n) ASSERT_EQ(reading.next().value()->sequence(), n);
  EXPECT_FALSE(reading.next().value());
  EXPECT_TRUE(journal_->status());
}

TEST_F(RunJournalTest, ProgressIsWrittenDown) {
  const auto silent = make_silent_progress();
  const auto progress = make_journalled_progress(*silent, *journal_);
  progress->show({.source = 2, .subject = "oops", .trial = 1, .trials = 3, .stage = "booting"});
  progress->print("left out\n");
  progress->end(2);
  auto reading = reader();
  const auto shown = reading.next().value()->activity();
  EXPECT_EQ(shown.source(), 2u);
  EXPECT_EQ(shown.subject(), "oops");
  EXPECT_EQ(shown.trials(), 3u);
  EXPECT_EQ(shown.stage(), "booting");
  EXPECT_EQ(reading.next().value()->notice().text(), "left out");
  EXPECT_EQ(reading.next().value()->activity().subject(), "");
}

}  // namespace
}  // namespace panicroom::harness
