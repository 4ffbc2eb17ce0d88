#include "harness/observer/dump_judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

using agent::v1::Message;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr VcpuId kCpu0{0};
constexpr VcpuId kCpu1{1};

// Two CPUs: 0 panicked and jumped, 1 was stopped at rip 0x1111.
CrashTruth truth() {
  return {.stopped = {{kCpu1, {.rsp = 0x2222, .rip = 0x1111}}},
          .owner = kCpu0,
          .vcpus = 2,
          .kernel_release = "6.1.0-test",
          .slide = {0x1000000}};
}

Message prstatus(std::uint64_t rip, std::uint64_t rsp) {
  Message message;
  message.mutable_prstatus()->mutable_registers()->set_rip(rip);
  message.mutable_prstatus()->mutable_registers()->set_rsp(rsp);
  return message;
}

Message check(const std::string& name, bool ok) {
  Message message;
  message.mutable_check()->set_name(name);
  message.mutable_check()->set_ok(ok);
  return message;
}

struct Evidence {
  std::string vmcoreinfo = "OSRELEASE=6.1.0-test\nPAGESIZE=4096\nKERNELOFFSET=1000000\n";
  std::string log = "[    1.0] Kernel panic - not syncing: first\n[    1.0] CPU: 0 PID: 77 Comm: x\n";
  std::vector<Message> extra = {check("elf-header", true)};
};

// What an agent that saw these messages says at its end.
Message totals(const std::vector<Message>& messages) {
  Message end;
  auto& judged = *end.mutable_judged();
  for (const auto& message : messages) {
    if (message.has_check() && message.check().ok()) judged.set_checks_passed(judged.checks_passed() + 1);
    if (message.has_check() && !message.check().ok()) judged.set_checks_failed(judged.checks_failed() + 1);
    if (message.has_prstatus() && message.prstatus().registers().rip() != 0) {
      judged.set_cpus_with_registers(judged.cpus_with_registers() + 1);
    }
  }
  return end;
}

DumpJudge::Finding judged(const std::vector<Message>& notes, const Evidence& evidence = {},
                          const DumpExpectation& expectation = {}, const CrashTruth& known = truth()) {
  DumpJudge judge;
  Message opened;
  opened.mutable_vmcore_opened()->set_size(4096);
  judge.take(opened);
  for (const auto& note : notes) judge.take(note);
  for (const auto& message : evidence.extra) judge.take(message);
  // In parts, as the agent sends long texts.
  const std::size_t half = evidence.vmcoreinfo.size() / 2;
  for (const auto& part : {evidence.vmcoreinfo.substr(0, half), evidence.vmcoreinfo.substr(half)}) {
    Message info;
    info.mutable_vmcoreinfo()->set_text(part);
    judge.take(info);
  }
  Message log;
  log.mutable_dead_log()->set_text(evidence.log);
  judge.take(log);
  EXPECT_FALSE(judge.finished());
  auto counted = notes;
  counted.insert(counted.end(), evidence.extra.begin(), evidence.extra.end());
  judge.take(totals(counted));
  EXPECT_TRUE(judge.opened());
  EXPECT_TRUE(judge.finished());
  auto finding = judge.judge(known, expectation);
  EXPECT_TRUE(finding) << finding.error().message();
  return finding ? *finding : DumpJudge::Finding{};
}

const std::vector<Message> kGoodNotes = {prstatus(0xaaaa, 0xbbbb), prstatus(0x1111, 0x2222)};

TEST(DumpJudge, ATrueDumpIsDumped) {
  const auto finding = judged(kGoodNotes, {.extra = {check("elf-header", true)}}, {.log_contains = "first"});
  EXPECT_EQ(finding.outcome, Outcome::kDumped) << finding.detail;
  EXPECT_EQ(finding.dump.cpus_with_registers(), 2u);
  EXPECT_EQ(finding.dump.panic_cpu(), 0);
  EXPECT_EQ(finding.dump.bytes(), 4096u);
  EXPECT_TRUE(finding.dump.log_matched());
  EXPECT_EQ(finding.dump.missing_cpus_size(), 0);
}

TEST(DumpJudge, AMissingNoteIsGivenToTheCpuWhoseRegistersAreNotThere) {
  const auto only_owner = judged({prstatus(0xaaaa, 0xbbbb)});
  EXPECT_EQ(only_owner.outcome, Outcome::kDumpIncomplete);
  EXPECT_THAT(only_owner.dump.missing_cpus(), ElementsAre(1));

  // The stopped CPU's note is recognised by its registers, whatever its place.
  const auto only_stopped = judged({prstatus(0x1111, 0x2222)});
  EXPECT_EQ(only_stopped.outcome, Outcome::kDumpIncomplete);
  EXPECT_THAT(only_stopped.dump.missing_cpus(), ElementsAre(0));
}

TEST(DumpJudge, ANoteWithoutRegistersIsMissing) {
  const auto finding = judged({prstatus(0xaaaa, 0xbbbb), prstatus(0, 0)});
  EXPECT_EQ(finding.outcome, Outcome::kDumpIncomplete);
  EXPECT_THAT(finding.dump.missing_cpus(), ElementsAre(1));
}

TEST(DumpJudge, OneRegisterThatIsNotTrueIsSeen) {
  for (const auto& wrong : {prstatus(0x1112, 0x2222), prstatus(0x1111, 0x2223)}) {
    const auto finding = judged({prstatus(0xaaaa, 0xbbbb), wrong});
    EXPECT_EQ(finding.outcome, Outcome::kDumpIncomplete);
    EXPECT_THAT(finding.detail, HasSubstr("CPU 1"));
    EXPECT_THAT(finding.detail, HasSubstr("not true"));
  }
}

TEST(DumpJudge, EveryRegisterIsCompared) {
  using agent::v1::Registers;
  for (const auto set : {&Registers::set_rax, &Registers::set_rbx, &Registers::set_rcx, &Registers::set_rdx,
                         &Registers::set_rsi, &Registers::set_rdi, &Registers::set_rbp, &Registers::set_r8,
                         &Registers::set_r9, &Registers::set_r10, &Registers::set_r11, &Registers::set_r12,
                         &Registers::set_r13, &Registers::set_r14, &Registers::set_r15, &Registers::set_rflags}) {
    auto flipped = prstatus(0x1111, 0x2222);
    (flipped.mutable_prstatus()->mutable_registers()->*set)(1);
    EXPECT_EQ(judged({prstatus(0xaaaa, 0xbbbb), flipped}).outcome, Outcome::kDumpIncomplete);
  }
}

TEST(DumpJudge, ACpuThatNobodyStoppedIsNotCompleteHoweverItsNoteLooks) {
  auto known = truth();
  known.stopped.clear();
  const auto finding = judged(kGoodNotes, {}, {}, known);
  EXPECT_EQ(finding.outcome, Outcome::kDumpIncomplete);
  EXPECT_THAT(finding.detail, HasSubstr("never seen to be stopped"));
}

TEST(DumpJudge, AStreamThatLostSomethingIsTheHarnesssFault) {
  const auto verdict_of = [](const Message& end, bool damaged) {
    DumpJudge judge;
    Message hello;
    hello.mutable_hello()->set_mode(agent::v1::MODE_CAPTURE);
    judge.take(hello);
    for (const auto& note : kGoodNotes) judge.take(note);
    judge.take(check("elf-header", true));
    if (damaged) judge.take(agent::ProtocolError{});
    judge.take(end);
    return judge.judge(truth(), {});
  };
  auto counted = kGoodNotes;
  counted.push_back(check("elf-header", true));
  EXPECT_TRUE(verdict_of(totals(counted), false));
  EXPECT_EQ(verdict_of(totals(counted), true).error().kind(), ErrorKind::kHost);
  counted.push_back(check("notes", false));  // Counted by the agent, but it did not arrive.
  EXPECT_EQ(verdict_of(totals(counted), false).error().kind(), ErrorKind::kHost);
  EXPECT_EQ(verdict_of(totals({}), false).error().kind(), ErrorKind::kHost);
}

TEST(DumpJudge, WhatTheFirstKernelsAgentLeftUnfinishedDoesNotCount) {
  DumpJudge judge;
  judge.take(agent::ProtocolError{});
  for (const auto& note : kGoodNotes) judge.take(note);
  judge.take(check("elf-header", true));
  auto counted = kGoodNotes;
  counted.push_back(check("elf-header", true));
  judge.take(totals(counted));
  EXPECT_TRUE(judge.judge(truth(), {}));
}

TEST(DumpJudge, SwappedNotesAreNotTrue) {
  EXPECT_EQ(judged({kGoodNotes[1], kGoodNotes[0]}).outcome, Outcome::kDumpIncomplete);
}

TEST(DumpJudge, ADumpOfAnotherKernelIsInvalid) {
  const auto other_release = judged(kGoodNotes, {.vmcoreinfo = "OSRELEASE=6.1.0-other\nKERNELOFFSET=1000000\n"});
  EXPECT_EQ(other_release.outcome, Outcome::kDumpInvalid);
  EXPECT_THAT(other_release.detail, HasSubstr("OSRELEASE"));
  const auto other_boot = judged(kGoodNotes, {.vmcoreinfo = "OSRELEASE=6.1.0-test\nKERNELOFFSET=2000000\n"});
  EXPECT_EQ(other_boot.outcome, Outcome::kDumpInvalid);
  EXPECT_THAT(other_boot.detail, HasSubstr("KERNELOFFSET"));
  EXPECT_EQ(judged(kGoodNotes, {.vmcoreinfo = ""}).outcome, Outcome::kDumpInvalid);
}

TEST(DumpJudge, AFailedCheckOfTheFileIsInvalidAndOneOfTheCpusIsNot) {
  EXPECT_EQ(judged(kGoodNotes, {.extra = {check("loads-readable", false)}}).outcome, Outcome::kDumpInvalid);
  EXPECT_EQ(judged(kGoodNotes, {.extra = {check("prstatus", false)}}).outcome, Outcome::kDumped)
      << "the host counts the CPUs itself";
}

TEST(DumpJudge, ALogWithoutTheTextIsSaidToBeWithout) {
  EXPECT_FALSE(judged(kGoodNotes, {}, {.log_contains = "second"}).dump.log_matched());
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

}  // namespace
}  // namespace panicroom::harness
