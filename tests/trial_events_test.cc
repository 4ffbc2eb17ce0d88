// What a real trial's events.jsonl says is what the report says, and the stream tells of all that the trial went
// through.
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <set>

#include "harness/events/event_reader.h"
#include "harness/events/fold.h"
#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

using google::protobuf::util::MessageDifferencer;
using testing::HasSubstr;
using testing::StartsWith;
using v1::Event;

TEST(TrialEventsTest, TheReportIsFoldedFromTheStreamAndNothingElse) {
  if (!test_kernel()) GTEST_SKIP() << no_kernel();
  const Scratch scratch;
  const auto result = run_scenarios(scratch, {(catalogue() / "second-panic-must-not-stop-the-dump.yaml").native(),
                                              (catalogue() / "irqs-off-cpu-is-stopped.yaml").native()});
  ASSERT_EQ(result.status, 0) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 2);
  std::set<Event::WhatCase> kinds;
  for (const auto& run : result.report.runs()) {
    SCOPED_TRACE(run.scenario());
    const auto log = harness::read_trial_events(scratch.path() / "out", run);
    ASSERT_TRUE(log) << log.error().message();
    EXPECT_EQ(log->broken_lines, 0u);
    v1::Run folded;
    std::uint32_t sequence = 0;
    std::string console;
    double before = 0;
    for (const auto& event : log->events) {
      EXPECT_EQ(event.sequence(), ++sequence);
      const double at = static_cast<double>(event.at().seconds()) + event.at().nanos() * 1e-9;
      EXPECT_GE(at, before);
      before = at;
      kinds.insert(event.what_case());
      console += event.console().text() + '\n';
      harness::apply(event, folded);
    }
    // The time that the whole trial took ends after its last event.
    *folded.mutable_wall() = run.wall();
    std::string differences;
    MessageDifferencer differencer;
    differencer.ReportDifferencesToString(&differences);
    EXPECT_TRUE(differencer.Compare(folded, run)) << differences;
    EXPECT_THAT(console, HasSubstr("Kernel panic - not syncing"));
  }
  for (const auto kind :
       {Event::kTrialStarted, Event::kStage, Event::kStepArmed, Event::kStepHappened, Event::kInjected, Event::kHeld,
        Event::kReleased, Event::kInterruptsOff, Event::kIpi, Event::kStopped, Event::kPlaces, Event::kConsole,
        Event::kAgent, Event::kDumpJudged, Event::kOutcome, Event::kVerdict})
    EXPECT_TRUE(kinds.contains(kind)) << kind;
}

TEST(TrialEventsTest, AStepThatWaitsForATimeHappensThenAndTheReportSaysHowLong) {
  if (!test_kernel()) GTEST_SKIP() << no_kernel();
  const Scratch scratch;
  const auto scenario = scratch.file("waits.yaml", R"(
name: waits
kernel: {cmdline: unknown_nmi_panic}
workload: {cpu0: syscalls, cpu1: syscalls}
timeline:
  - {cpu: 1, after: 30ms, do: note}
  - {cpu: 0, after: [10ms, 90ms], do: nmi}
  - {cpu: 0, at: kexec/jump, do: note}
  - {cpu: 0, after: 20ms, do: note}
expect:
  outcome: dumped
  dump: {panic_cpu: 0, cpus_with_registers: 2}
)");
  const auto result = run_scenarios(scratch, {scenario.native(), "--repeat", "3"});
  ASSERT_EQ(result.status, 0) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 3);
  const auto seconds = [](const google::protobuf::Duration& duration) {
    return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
  };
  std::set<double> drawn;
  for (const auto& run : result.report.runs()) {
    ASSERT_EQ(run.steps_size(), 4);
    for (const auto& step : run.steps()) EXPECT_TRUE(step.happened()) << step.text();
    EXPECT_DOUBLE_EQ(seconds(run.steps(0).wait()), 0.03);
    EXPECT_GE(seconds(run.steps(0).at()), 0.03);
    const auto wait = seconds(run.steps(1).wait());
    EXPECT_GE(wait, 0.01);
    EXPECT_LE(wait, 0.09);
    EXPECT_GE(seconds(run.steps(1).at()) - seconds(run.steps(0).at()), wait);
    drawn.insert(wait);
    EXPECT_THAT(run.steps(2).place(), HasSubstr("machine_kexec"));
    EXPECT_THAT(run.steps(3).place(), StartsWith("0x")) << "the symbols are those of the kernel that is gone";
  }
  EXPECT_EQ(drawn.size(), 3u) << "each trial draws anew";
}

}  // namespace
}  // namespace panicroom::tests
