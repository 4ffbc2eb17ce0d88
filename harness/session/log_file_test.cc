#include "harness/session/log_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

namespace panicroom::harness {
namespace {

std::filesystem::path scratch(const std::string& name) {
  return std::filesystem::path(testing::TempDir()) / fmt::format("log_file_test.{}", ::getpid()) / name;
}

TEST(LogFile, WritesWhatItIsGiven) {
  auto log = LogFile::create(scratch("folder/log"));
  ASSERT_TRUE(log);
  log->write("one\n");
  log->write("two\n");
  EXPECT_TRUE(log->status());
  EXPECT_EQ(*read_text_file(scratch("folder/log")), "one\ntwo\n");
}

TEST(LogFile, IsCutWhereAGuestDoesNotEnd) {
  auto log = LogFile::create(scratch("endless"));
  ASSERT_TRUE(log);
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 70; ++i) log->write(megabyte);
  const auto size = std::filesystem::file_size(scratch("endless"));
  EXPECT_GT(size, LogFile::kMaxBytes);
  EXPECT_LT(size, LogFile::kMaxBytes + 100);
  std::filesystem::remove(scratch("endless"));
}

TEST(LogFile, AFullDiskIsKeptAndNamed) {
  auto log = LogFile::create(scratch("limited"));
  ASSERT_TRUE(log);
  // A file size limit stands for the full disk: write() fails in the same way.
  struct rlimit before {};
  ::getrlimit(RLIMIT_FSIZE, &before);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit tight { 16, before.rlim_max };
  ::setrlimit(RLIMIT_FSIZE, &tight);
  log->write(std::string(64, 'x'));
  log->write("more");
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  const auto status = log->status();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind(), ErrorKind::kHost);
  EXPECT_NE(status.error().message().find("limited"), std::string::npos);
}

TEST(LogFile, AFolderThatCannotBeMadeIsAHostError) {
  const auto log = LogFile::create("/proc/no/such/folder/log");
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().kind(), ErrorKind::kHost);
}

}  // namespace
}  // namespace panicroom::harness
