#include "harness/report/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/report/sample_report.h"

namespace panicroom::harness {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Explain, LogsAreNamedUnderTheOutputFolder) {
  EXPECT_THAT(explain(sample::failed_run(), "/tmp/out"),
              Contains("logs      /tmp/out/second-panic/1/console.log and agent.log"));
}

TEST(Explain, ATimelineThatWasCarriedOutIsNotBlamed) {
  auto run = sample::failed_run();
  for (auto& step : *run.mutable_steps()) step.set_happened(true);
  EXPECT_THAT(explain(run), Not(Contains(HasSubstr("step "))));
}

TEST(Explain, WhatBecameOfThePanicsMessageIsTold) {
  auto run = sample::run("a", v1::VERDICT_FAIL, v1::OUTCOME_RESET);
  run.mutable_panic_message()->set_text("first");
  run.mutable_panic_message()->set_console(v1::PanicMessage::STATE_GARBLED);
  EXPECT_THAT(explain(run), Contains("message   \"first\": garbled on the console"));
  run.mutable_panic_message()->set_log(v1::PanicMessage::STATE_WHOLE);
  EXPECT_THAT(explain(run), Contains("message   \"first\": garbled on the console, whole in the log"));
}

TEST(Explain, EveryWayOfStoppingIsTold) {
  auto run = sample::run("a", v1::VERDICT_FAIL, v1::OUTCOME_HUNG);
  for (const auto* name : {"stopped-by-nmi", "stopped-by-irq", "stopped-itself", "jump"}) {
    auto& stage = *run.add_stages();
    stage.set_name(name);
    stage.set_cpu(1);
  }
  const auto lines = explain(run);
  EXPECT_THAT(lines, Contains("stopped   CPU 1 by an NMI at 0.000 s"));
  EXPECT_THAT(lines, Contains("stopped   CPU 1 by an interrupt at 0.000 s"));
  EXPECT_THAT(lines, Contains("stopped   CPU 1 stopped itself at 0.000 s"));
  EXPECT_THAT(lines, Not(Contains(HasSubstr("jump"))));
  EXPECT_THAT(narrate(run), Contains("stage     0.000 s jump on CPU 1"));
}

TEST(Explain, AFloodOfEntriesOrLinesIsCut) {
  auto run = sample::run("a", v1::VERDICT_FAIL, v1::OUTCOME_HUNG);
  run.set_detail(std::string(100'000, '\n'));
  for (int i = 0; i < 10'000; ++i) run.add_stages()->set_name("stopped-by-nmi");
  auto& place = *run.add_places();
  for (int i = 0; i < 10'000; ++i) place.add_backtrace(std::string(1'000, 'x'));
  EXPECT_LT(explain(run).size(), 500u);
  for (const auto& line : explain(run)) EXPECT_LT(line.size(), 500u);
  EXPECT_LT(narrate(run).size(), 500u);
}

TEST(Reason, IsTheDetailsFirstLineOrTheOutcome) {
  EXPECT_EQ(reason(sample::failed_run()), "the machine was reset");
  EXPECT_EQ(reason(sample::run("a", v1::VERDICT_FAIL, v1::OUTCOME_HUNG)), "expected dumped, was hung");
  EXPECT_EQ(reason(sample::run("a", v1::VERDICT_PASS, v1::OUTCOME_DUMPED)), "dumped");
}

}  // namespace
}  // namespace panicroom::harness
