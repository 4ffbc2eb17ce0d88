#include "harness/observer/log_check.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

const PanicMessage kSecond{.text = "second", .whole = true};

TEST(CrashInLog, IsThePanicWithThatMessage) {
  const std::string log = "[    1.0] Kernel panic - not syncing: first\n[    1.0] Kernel panic - not syncing: second\n";
  EXPECT_EQ(find_crash_in_log(log, kSecond), log.rfind("Kernel"));
  EXPECT_EQ(find_crash_in_log(log, PanicMessage{.text = "sec", .whole = false}), log.rfind("Kernel"));
  EXPECT_EQ(find_crash_in_log(log, PanicMessage{.text = "sec", .whole = true}), std::nullopt);
  EXPECT_EQ(find_crash_in_log("", kSecond), std::nullopt);
}

// Without a panic there is an oops, by whatever name.
TEST(CrashInLog, IsTheOopsIfNobodyCalledPanic) {
  for (const std::string_view oops :
       {"BUG: kernel NULL pointer dereference", "kernel BUG at mm/usercopy.c:101!", "double fault: 0000 [#1] SMP"}) {
    EXPECT_EQ(find_crash_in_log(fmt::format("[    1.0] {}\n", oops), std::nullopt), 10u) << oops;
  }
  EXPECT_EQ(find_crash_in_log("[    1.0] all is well\n", std::nullopt), std::nullopt);
}

// 5.10 with PREEMPT_RT: two records, and those of a CPU that panics at the same time between them.
TEST(CrashInLog, TheMessageMayBeARecordOfItsOwn) {
  const std::string log =
      "[    3.22] Kernel panic - not syncing:\n[    3.23] Kernel panic - not syncing:\n[    3.25] second\n"
      "[    3.25] CPU: 1 PID: 86\n";
  EXPECT_EQ(find_crash_in_log(log, kSecond), log.find("[    3.25] second"));
  EXPECT_EQ(cpu_named_behind(log, *find_crash_in_log(log, kSecond)), 1);
  EXPECT_EQ(find_crash_in_log(log, PanicMessage{.text = "first", .whole = true}), std::nullopt);
}

TEST(CrashInLog, AMessageWithoutAPanicBeforeItIsNone) {
  EXPECT_EQ(find_crash_in_log("[    3.25] second\n[    3.26] Kernel panic - not syncing:\n", kSecond), std::nullopt);
  std::string far = "[    3.22] Kernel panic - not syncing:\n";
  for (int i = 0; i < 40; ++i) far += "[    3.23] another record\n";
  EXPECT_EQ(find_crash_in_log(far + "[    3.25] second\n", kSecond), std::nullopt);
  EXPECT_EQ(find_crash_in_log("[    3.22] Kernel panic - not syncing:\n", kSecond), std::nullopt);
}

TEST(MessageState, IsWholeOnlyInALineOfItsOwn) {
  const auto state = [](std::string_view text) { return message_state(text, kSecond); };
  EXPECT_EQ(state("[    1.0] a\n[    1.0] Kernel panic - not syncing: second\n[    1.0] b\n"), MessageState::kWhole);
  EXPECT_EQ(state("[    1.0] Kernel panic - not syncing: second\r\n"), MessageState::kWhole);
  EXPECT_EQ(state("Kernel panic - not syncing: second"), MessageState::kWhole);
  EXPECT_EQ(state("[    1.0] Kernel panic - not syncing: sec[    1.0] a\nond\n"), MessageState::kGarbled);
  EXPECT_EQ(state("[    1.0] a half[    1.0] Kernel panic - not syncing: second\n"), MessageState::kGarbled);
  EXPECT_EQ(state("[    1.0] Kernel panic - not syncing: first\n"), MessageState::kGarbled);
  EXPECT_EQ(state("[    1.0] all is well, this second\n"), MessageState::kAbsent);
  EXPECT_EQ(state(""), MessageState::kAbsent);
}

TEST(MessageState, MayBeARecordOfItsOwnBehindTheBanner) {
  const auto state = [](std::string_view text) { return message_state(text, kSecond); };
  EXPECT_EQ(state("[ 1.0] Kernel panic - not syncing:\r\n[ 1.0] other\r\n[ 1.0] second\r\n"), MessageState::kWhole);
  EXPECT_EQ(state("[ 1.0] Kernel panic - not syncing:\n[ 1.0] sec"), MessageState::kGarbled);
}

TEST(MessageState, AnotherCpusWholeMessageIsNothingOfIt) {
  const std::vector<PanicMessage> others = {{.text = "first", .whole = true}};
  const auto state = [&](std::string_view text) { return message_state(text, kSecond, others); };
  EXPECT_EQ(state("[ 1.0] Kernel panic - not syncing: first\n"), MessageState::kAbsent);
  EXPECT_EQ(state("[ 1.0] Kernel panic - not syncing: fir"), MessageState::kGarbled);
  EXPECT_EQ(state("[ 1.0] Kernel panic - not syncing: first\n[ 1.0] Kernel panic - not syncing: second\n"),
            MessageState::kWhole);
}

TEST(MessageState, OfWhichOnlyTheBeginningIsKnown) {
  const PanicMessage begun{.text = "Fatal exception in ", .whole = false};
  EXPECT_EQ(message_state("[ 1.0] Kernel panic - not syncing: Fatal exception in interrupt\n", begun),
            MessageState::kWhole);
  EXPECT_EQ(message_state("[ 1.0] Kernel panic - not syncing: Fatal [ 1.0] x\n", begun), MessageState::kGarbled);
}

TEST(PanicsInLog, AreWhatTheLogSays) {
  EXPECT_EQ(panics_in_log("[ 1.0] Kernel panic - not syncing: a\n[ 2.0] Kernel panic - not syncing: b\n"),
            "\"a\", \"b\"");
  EXPECT_EQ(panics_in_log("[ 1.0] Kernel panic - not syncing:\n[ 2.0] a\n"), "a panic, and behind it \"a\"");
  EXPECT_EQ(panics_in_log("[ 1.0] Kernel panic - not syncing:\n"), "a panic, and behind it \"\"");
  EXPECT_EQ(panics_in_log("[ 1.0] all is well\n"), "no panic");
}

TEST(PanicCpuInLog, IsTheOneNamedBehindThePanic) {
  EXPECT_EQ(panic_cpu_in_log("CPU: 3 PID: 1\nKernel panic - not syncing: x\nCPU: 12 PID: 77 Comm: init\n"), 12);
  EXPECT_EQ(panic_cpu_in_log("BUG: kernel NULL pointer dereference\nOops: 0010 [#1]\nCPU: 1 PID: 77\n"), 1);
  EXPECT_EQ(panic_cpu_in_log("Kernel panic - not syncing: x\n"), -1);
  EXPECT_EQ(panic_cpu_in_log("CPU: 1 PID: 2"), -1);
  EXPECT_EQ(panic_cpu_in_log("Kernel panic - not syncing: CPU: x\nCPU: 1 PID"), 1);
  EXPECT_EQ(panic_cpu_in_log("Kernel panic - not syncing\nCPU: 99999999999999999999 "), -1);
  EXPECT_EQ(panic_cpu_in_log(""), -1);
}

// printk of 6.1 with another CPU's oops in the midst of a panic: whose "CPU:" that is cannot be told.
TEST(CpuNamedBehind, APanicIsNotThatOfAnOopsBehindIt) {
  const std::string panic = "Kernel panic - not syncing: x\n";
  const std::string oops = "BUG: kernel NULL pointer dereference\nOops: 0010 [#1]\nCPU: 1 PID: 77\n";
  const std::string warning = "WARNING: CPU: 2 PID: 7 at kernel/x.c:1 x+0x1/0x2\nCPU: 2 PID: 7\n";
  EXPECT_EQ(cpu_named_behind(panic + oops, 0), -1);
  EXPECT_EQ(cpu_named_behind(panic + warning, 0), -1);
  EXPECT_EQ(cpu_named_behind(panic + "CPU: 0 PID: 99\n" + oops, 0), 0);
  EXPECT_EQ(cpu_named_behind(oops, 0), 1);
  EXPECT_EQ(cpu_named_behind("Kernel panic", 0), -1);
  EXPECT_EQ(cpu_named_behind("Kernel panic", 99), -1);
}

TEST(PanicCpuInLog, IsNotTheOneThatGotNoTime) {
  const std::string stuck = "watchdog: BUG: soft lockup - CPU#2 stuck for 26s! [swapper/2:0]\nCPU: 2 PID: 0\n";
  EXPECT_EQ(panic_cpu_in_log(stuck + "Kernel panic - not syncing: x\nCPU: 0 PID: 99\n"), 0);
  EXPECT_EQ(panic_cpu_in_log(stuck + "BUG: kernel NULL pointer dereference\nCPU: 1 PID: 77\n"), 1);
  EXPECT_EQ(panic_cpu_in_log(stuck), -1);
}

}  // namespace
}  // namespace panicroom::harness
