#include "harness/service/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "base/testing/temporary_directory.h"

namespace panicroom::service {
namespace {

class ChildProcessTest : public testing::Test {
 protected:
  ChildCommand shell(const std::string& script) {
    return {.argv = {"/bin/sh", "-c", script},
            .directory = directory_.path(),
            .out = directory_.path() / "out",
            .err = directory_.path() / "err"};
  }
  ChildProcess prepared(const std::string& script) {
    auto process = ChildProcess::prepare(shell(script));
    EXPECT_TRUE(process) << process.error().message();
    return *std::move(process);
  }
  std::string text(const std::string& name) { return read_text_file(directory_.path() / name).value(); }

  TemporaryDirectory directory_;
};

TEST_F(ChildProcessTest, RunsInItsFolderAndWritesItsFiles) {
  auto process = prepared("pwd; echo trouble >&2; exit 3");
  ASSERT_TRUE(process.go());
  EXPECT_EQ(process.wait().value(), 3);
  EXPECT_EQ(text("out"), directory_.path().string() + "\n");
  EXPECT_EQ(text("err"), "trouble\n");
}

TEST_F(ChildProcessTest, DoesNothingBeforeItIsLetGo) {
  {
    auto process = prepared("echo ran >ran");
    EXPECT_EQ(identify_process(process.identity().pid), process.identity());
  }
  EXPECT_FALSE(std::filesystem::exists(directory_.path() / "ran"));
}

TEST_F(ChildProcessTest, ASignalIsItsStatus) {
  auto process = prepared("kill -TERM $$; exit 0");
  ASSERT_TRUE(process.go());
  EXPECT_EQ(process.wait().value(), 128 + SIGTERM);
}

TEST_F(ChildProcessTest, AProgramThatIsNotThereIsAStatus) {
  auto process = ChildProcess::prepare({.argv = {"/nonexistent"},
                                        .directory = directory_.path(),
                                        .out = directory_.path() / "out",
                                        .err = directory_.path() / "err"});
  ASSERT_TRUE(process);
  ASSERT_TRUE(process->go());
  EXPECT_EQ(process->wait().value(), 127);
}

// A server in a process of its own, which starts a child and is killed.
TEST_F(ChildProcessTest, EndsWithItsParent) {
  const auto fifo = directory_.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const pid_t server = ::fork();
  if (server == 0) {
    // The child says that it runs, and holds the fifo open for as long as it lives.
    auto process = ChildProcess::prepare(shell("exec 3>fifo; echo $$ >&3; read -r line <never"));
    if (!process || !process->go()) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  ASSERT_EQ(::mkfifo((directory_.path() / "never").c_str(), 0600), 0);
  const UniqueFd reading(::open(fifo.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 32> bytes{};
  ASSERT_GT(::read(reading.get(), bytes.data(), bytes.size()), 0);
  ::kill(server, SIGKILL);
  ASSERT_EQ(::waitpid(server, nullptr, 0), server);
  // Ends when nobody has it open for writing any more.
  EXPECT_EQ(::read(reading.get(), bytes.data(), bytes.size()), 0);
}

TEST_F(ChildProcessTest, AStaleProcessIsEndedWhateverItThinksOfIt) {
  ASSERT_EQ(::mkfifo((directory_.path() / "fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo((directory_.path() / "never").c_str(), 0600), 0);
  auto process = prepared("trap '' TERM; echo ready >fifo; read -r line <never");
  ASSERT_TRUE(process.go());
  ASSERT_TRUE(read_text_file(directory_.path() / "fifo"));  // Returns when it ignores the signal.
  ASSERT_TRUE(end_stale_process(process.identity(), std::chrono::seconds(0)));
  EXPECT_EQ(process.wait().value(), 128 + SIGKILL);
}

TEST_F(ChildProcessTest, AnotherProcessOfThatNumberIsLeftAlone) {
  auto process = prepared("exit 5");
  auto other = process.identity();
  other.started += 1;
  EXPECT_TRUE(end_stale_process(other, std::chrono::seconds(0)));
  other = process.identity();
  other.boot_id = "another";
  EXPECT_TRUE(end_stale_process(other, std::chrono::seconds(0)));
  ASSERT_TRUE(process.go());
  EXPECT_EQ(process.wait().value(), 5);
  EXPECT_TRUE(end_stale_process(process.identity(), std::chrono::seconds(0)));
}

}  // namespace
}  // namespace panicroom::service
