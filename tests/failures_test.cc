// What goes wrong around a run: each has a clear message and the right exit status, and nothing is left behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <optional>

#include "base/file.h"
#include "harness/report/json.h"
#include "kernels/packages/kernel_store.h"
#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::string_view kSinglePanic = R"(
name: single
summary: One CPU panics.
workload: {cpu0: syscalls, cpu1: syscalls}
timeline:
  - {cpu: 0, at: workload, do: panic, message: x}
expect: {outcome: dumped}
)";

class FailuresTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!test_kernel()) GTEST_SKIP() << no_kernel();
  }
  std::filesystem::path single() { return scratch_.file("single.yaml", kSinglePanic); }
  // The scenario with something added to it.
  std::filesystem::path single_with(std::string_view lines) {
    return scratch_.file("single.yaml", std::string(kSinglePanic) + std::string(lines));
  }
  Scratch scratch_;
};

TEST_F(FailuresTest, AYamlFullOfMistakesIsReportedInOneGoBeforeAnythingStarts) {
  const auto scenario = scratch_.file("wrong.yaml",
                                      "name: x\nsumary: typo\nmachine: {vcpus: many}\n"
                                      "timeline:\n  - {cpu: 7, do: explode}\n");
  const auto result = run_scenarios(scratch_, {scenario.native()});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("wrong.yaml:2:"), HasSubstr("wrong.yaml:3:"), HasSubstr("wrong.yaml:5:")));
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() / "out"));
}

TEST_F(FailuresTest, AWrongCommandLineIsTwo) {
  EXPECT_EQ(panicroom({"run"}).status, 2);
  EXPECT_EQ(panicroom({"run", "--engine", "bochs", "x"}).status, 2);
  EXPECT_EQ(panicroom({"run", single().native(), "--kernel", "debian:"}).status, 2);
  EXPECT_EQ(panicroom({"check", (scratch_.path() / "absent.yaml").native()}).status, 2);
}

TEST_F(FailuresTest, ATruncatedKernelIsSaidToBeTruncated) {
  const auto whole = read_file(test_kernel().value());
  ASSERT_TRUE(whole);
  const auto path = scratch_.file("vmlinuz", as_text(*whole).substr(0, whole->size() / 2));
  const auto result = panicroom({"run", single().native(), "--kernel", path.native()});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr(path.native()), HasSubstr("truncated")));
}

TEST_F(FailuresTest, AKernelWithoutKexecIsAnErrorThatSaysSo) {
  // Switched off at boot, as a kernel that was built without it answers: the system call refuses.
  const auto result =
      run_scenarios(scratch_, {single_with("kernel: {cmdline: sysctl.kernel.kexec_load_disabled=1}\n").native()});
  EXPECT_EQ(result.status, 3) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 1);
  EXPECT_EQ(result.report.runs(0).verdict(), v1::VERDICT_ERROR);
  EXPECT_THAT(result.report.runs(0).detail(), HasSubstr("kexec"));
}

TEST_F(FailuresTest, TooLittleCrashMemoryIsAnErrorThatNamesIt) {
  const auto result = run_scenarios(scratch_, {single_with("machine: {crashkernel: 16M}\n").native()});
  EXPECT_EQ(result.status, 3) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 1);
  EXPECT_THAT(result.report.runs(0).detail(), HasSubstr("crashkernel"));
}

TEST_F(FailuresTest, AMissingPackageIsNamedWithTheCommandThatMendsIt) {
  // A PATH with the tools of every Debian system that panicroom calls, and no QEMU.
  const auto bin = scratch_.path() / "bin";
  ASSERT_TRUE(make_directories(bin));
  std::filesystem::create_symlink("/usr/bin/timeout", bin / "timeout");
  const auto result = panicroom({"run", single().native(), "--kernel", test_kernel().value().native(), "--out",
                                 (scratch_.path() / "out").native()},
                                {{"PATH", bin.native()}});
  EXPECT_EQ(result.status, 3) << result.out;
  EXPECT_THAT(result.err, AllOf(HasSubstr("apt-get install"), HasSubstr("qemu-system-x86")));
}

TEST_F(FailuresTest, AFullDiskUnderOutIsAHarnessErrorThatNamesTheFile) {
  const auto disk = scratch_.path() / "disk";
  ASSERT_TRUE(make_directories(disk));
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "mounting a small tmpfs needs root: " << std::generic_category().message(errno);
  }
  const auto result = panicroom(
      {"run", single().native(), "--kernel", test_kernel().value().native(), "--out", (disk / "out").native()});
  ::umount2(disk.c_str(), MNT_DETACH);
  EXPECT_EQ(result.status, 3) << result.out << result.err;
  EXPECT_THAT(result.out + result.err, AllOf(HasSubstr("No space left on device"), HasSubstr((disk / "out").native())));
}

// A `panicroom run` that goes on until it is ended, in a process group of its own.
class RunningCommand {
 public:
  RunningCommand(const Scratch& scratch, const std::filesystem::path& scenario) : output_(scratch.path() / "output") {
    std::vector<std::string> argv = {program(),
                                     "run",
                                     scenario.native(),
                                     "--kernel",
                                     test_kernel().value().native(),
                                     "--repeat",
                                     "1000",
                                     "--out",
                                     (scratch.path() / "out").native()};
    std::vector<char*> pointers;
    pointers.reserve(argv.size() + 1);
    for (auto& word : argv) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    EXPECT_EQ(::posix_spawn(&pid_, program().c_str(), &actions, &attributes, pointers.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  ~RunningCommand() {
    if (!status_) {
      ::kill(pid_, SIGKILL);
      wait();
    }
  }
  RunningCommand(const RunningCommand&) = delete;
  RunningCommand& operator=(const RunningCommand&) = delete;

  // Until a file of that name below `out` has something in it.
  void wait_for_file(const std::filesystem::path& out, std::string_view name) {
    while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(out, ignored_)) {
        if (entry.path().filename() == name && entry.file_size(ignored_) > 0) return;
      }
      ::poll(nullptr, 0, 20);
    }
    ADD_FAILURE() << "panicroom ended by itself: " << read_text_file(output_).value_or("");
  }
  void signal(int number) const { ::kill(pid_, number); }
  int wait() {
    int status = 0;
    while (!status_ && ::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    if (!status_) status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return *status_;
  }
  // What the guests of this run, and of no other, have in their arguments.
  [[nodiscard]] std::string mark() const { return fmt::format("/machines/{}/", pid_); }
  [[nodiscard]] std::filesystem::path machine_folder() const {
    return kernels::default_cache_dir().value() / "machines" / fmt::format("{}", pid_);
  }

 private:
  std::filesystem::path output_;
  pid_t pid_ = -1;
  std::optional<int> status_;
  std::error_code ignored_;
};

TEST_F(FailuresTest, CtrlCEndsEveryGuestAndLeavesNothingBehind) {
  RunningCommand command(scratch_, single());
  command.wait_for_file(scratch_.path() / "out", "boot-1.console.log");
  EXPECT_GT(processes_with(command.mark()), 0u);
  command.signal(SIGINT);
  EXPECT_EQ(command.wait(), 130);
  EXPECT_EQ(processes_with(command.mark()), 0u);
}

TEST_F(FailuresTest, CtrlCEndsATrialThatWouldGoOnForLong) {
  const auto scenario = scratch_.file("waiting.yaml", R"(
name: waiting
summary: Nobody panics, so nobody gets there.
workload: {cpu0: syscalls, cpu1: syscalls}
timeline:
  - {cpu: 0, at: panic_smp_self_stop, do: note}
expect: {outcome: dumped}
timeout: 10m
)");
  RunningCommand command(scratch_, scenario);
  // The armed kernel's heartbeats.
  command.wait_for_file(scratch_.path() / "out", "agent.log");
  command.signal(SIGINT);
  EXPECT_EQ(command.wait(), 130);
  EXPECT_EQ(processes_with(command.mark()), 0u);
  const auto json = read_text_file(scratch_.path() / "out" / "report.json");
  ASSERT_TRUE(json) << json.error().message();
  const auto report = harness::report_from_json(*json);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->runs_size(), 0) << "the trial went on to its end";
}

TEST_F(FailuresTest, WhatAKilledRunLeavesBehindIsEndedByTheNext) {
  RunningCommand command(scratch_, single());
  command.wait_for_file(scratch_.path() / "out", "boot-1.console.log");
  command.signal(SIGKILL);
  EXPECT_EQ(command.wait(), 128 + SIGKILL);
  EXPECT_GT(processes_with(command.mark()), 0u) << "QEMU outlives the process that started it";
  const auto next = run_scenarios(scratch_, {single().native()});
  EXPECT_EQ(next.status, 0) << next.out << next.err;
  EXPECT_EQ(processes_with(command.mark()), 0u);
  EXPECT_FALSE(std::filesystem::exists(command.machine_folder()));
}

}  // namespace
}  // namespace panicroom::tests
