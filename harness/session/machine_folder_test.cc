#include "harness/session/machine_folder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace panicroom::harness {
namespace {

namespace fs = std::filesystem;

class MachineFolderTest : public testing::Test {
 protected:
  void TearDown() override { fs::remove_all(shared_); }

  const fs::path shared_ = fs::path(testing::TempDir()) / fmt::format("machine_folder_test.{}", ::getpid());
};

TEST_F(MachineFolderTest, IsRemovedAtTheEndWithAllThatIsInIt) {
  fs::path path;
  {
    const auto folder = MachineFolder::make(shared_);
    ASSERT_TRUE(folder) << folder.error().message();
    path = folder->path();
    ASSERT_TRUE(write_file(path / "disk", "x"));
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(MachineFolderTest, WhatAKilledProcessLeftIsRemovedAndALivingOnesIsNot) {
  // The child makes its folder, says so, and waits to be killed.
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto folder = MachineFolder::make(shared_);
    if (!folder || ::write(ready[1], "x", 1) != 1) ::_exit(1);
    ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto childs = shared_ / fmt::format("{}", child);
  {
    const auto beside = MachineFolder::make(shared_);
    ASSERT_TRUE(beside) << beside.error().message();
    EXPECT_TRUE(fs::exists(childs));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ASSERT_TRUE(fs::exists(childs));
  const auto after = MachineFolder::make(shared_);
  ASSERT_TRUE(after) << after.error().message();
  EXPECT_FALSE(fs::exists(childs));
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace panicroom::harness
