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

}  // namespace
}  // namespace panicroom::tests
