#include "harness/observer/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

using testing::HasSubstr;

v1::Run run_with(v1::Outcome outcome, const std::vector<bool>& steps = {true}) {
  v1::Run run;
  run.set_outcome(outcome);
  for (const bool happened : steps) {
    auto& step = *run.add_steps();
    step.set_number(static_cast<std::uint32_t>(run.steps_size()));
    step.set_happened(happened);
    step.set_text("a step");
  }
  return run;
}

TEST(Verdict, TheExpectedOutcomePasses) {
  auto run = run_with(v1::OUTCOME_RESET);
  decide_verdict({.outcome = Outcome::kReset, .dump = {}}, run);
  EXPECT_EQ(run.verdict(), v1::VERDICT_PASS);
  EXPECT_EQ(run.detail(), "");
  EXPECT_EQ(run.expected_outcome(), v1::OUTCOME_RESET);
}

TEST(Verdict, AnyOtherOutcomeFailsAndSaysBoth) {
  for (int value = v1::Outcome_MIN; value <= v1::Outcome_MAX; ++value) {
    if (value == v1::OUTCOME_DUMPED) continue;
    auto run = run_with(static_cast<v1::Outcome>(value));
    run.set_detail("because");
    decide_verdict({}, run);
    EXPECT_EQ(run.verdict(), v1::VERDICT_FAIL) << v1::Outcome_Name(run.outcome());
    EXPECT_THAT(run.detail(), HasSubstr("expected dumped"));
    EXPECT_THAT(run.detail(), HasSubstr("because"));
  }
}

TEST(Verdict, ADumpDoesNotPassWithoutItsSteps) {
  auto run = run_with(v1::OUTCOME_DUMPED, {true, false, false});
  decide_verdict({}, run);
  EXPECT_EQ(run.verdict(), v1::VERDICT_FAIL);
  EXPECT_THAT(run.detail(), HasSubstr("step 2 was never reached"));
}

TEST(Verdict, EachExpectationOfTheDumpCounts) {
  v1::Run good = run_with(v1::OUTCOME_DUMPED);
  good.mutable_dump()->set_panic_cpu(1);
  good.mutable_dump()->set_cpus_with_registers(2);
  const DumpExpectation all{
      .panic_cpu = 1, .cpus_with_registers = 2, .missing_cpus = std::vector<std::uint32_t>{}, .log_contains = {"x"}};
  auto run = good;
  decide_verdict({.outcome = Outcome::kDumped, .dump = all}, run);
  EXPECT_EQ(run.verdict(), v1::VERDICT_PASS) << run.detail();

  const auto fails_with = [&](auto change, const std::string& named) {
    auto changed = good;
    change(*changed.mutable_dump());
    decide_verdict({.outcome = Outcome::kDumped, .dump = all}, changed);
    EXPECT_EQ(changed.verdict(), v1::VERDICT_FAIL);
    EXPECT_THAT(changed.detail(), HasSubstr(named));
  };
  fails_with([](v1::Dump& dump) { dump.set_panic_cpu(0); }, "panic_cpu");
  fails_with([](v1::Dump& dump) { dump.set_cpus_with_registers(1); }, "cpus_with_registers");
  fails_with([](v1::Dump& dump) { dump.add_missing_cpus(1); }, "missing_cpus");
  fails_with([](v1::Dump& dump) { dump.add_log_missing("x"); }, "log does not contain \"x\"");
}

TEST(Verdict, AHangElsewhereIsNotTheOneThatIsExpected) {
  v1::Run good = run_with(v1::OUTCOME_HUNG);
  auto& zero = *good.add_places();
  zero.set_cpu(0);
  zero.set_place("native_queued_spin_lock_slowpath.part.0+0x52");
  zero.add_backtrace("_raw_spin_lock_irqsave+0x3d");
  zero.add_backtrace("down_trylock.part.1+0x12");
  auto& one = *good.add_places();
  one.set_cpu(1);
  one.set_place("crash_nmi_callback+0x38");
  const auto verdict = [](v1::Run run, std::map<std::uint32_t, std::vector<std::string>> where) {
    decide_verdict({.outcome = Outcome::kHung, .where = std::move(where)}, run);
    return run;
  };
  EXPECT_EQ(verdict(good, {{0, {"down_trylock"}}, {1, {"crash_nmi_callback"}}}).verdict(), v1::VERDICT_PASS);
  EXPECT_EQ(verdict(good, {{0, {"native_queued_spin_lock_slowpath"}}}).verdict(), v1::VERDICT_PASS);

  // One of several is enough.
  EXPECT_EQ(verdict(good, {{0, {"vpanic", "down_trylock"}}}).verdict(), v1::VERDICT_PASS);
  EXPECT_THAT(verdict(good, {{0, {"vpanic", "panic"}}}).detail(), HasSubstr("not in vpanic or panic"));

  // A name that only begins alike is another function.
  const auto elsewhere = verdict(good, {{0, {"down"}}});
  EXPECT_EQ(elsewhere.verdict(), v1::VERDICT_FAIL);
  EXPECT_THAT(elsewhere.detail(), HasSubstr("CPU 0 is in native_queued_spin_lock_slowpath.part.0+0x52"));
  EXPECT_THAT(elsewhere.detail(), HasSubstr("not in down"));
  EXPECT_EQ(verdict(good, {{1, {"down_trylock"}}}).verdict(), v1::VERDICT_FAIL);
  EXPECT_THAT(verdict(good, {{2, {"up"}}}).detail(), HasSubstr("not known where CPU 2 is"));
}

TEST(Verdict, TheRightOutcomeForAnotherReasonFails) {
  auto run = run_with(v1::OUTCOME_RESET);
  run.set_detail("the machine was reset without a dump: CPU 1 began it");
  auto same = run;
  decide_verdict({.outcome = Outcome::kReset, .because = "CPU 1 began it"}, same);
  EXPECT_EQ(same.verdict(), v1::VERDICT_PASS) << same.detail();
  decide_verdict({.outcome = Outcome::kReset, .because = "CPU 0 began it"}, run);
  EXPECT_EQ(run.verdict(), v1::VERDICT_FAIL);
  EXPECT_THAT(run.detail(), HasSubstr("not because of \"CPU 0 began it\""));
  EXPECT_THAT(run.detail(), HasSubstr("CPU 1 began it"));
}

TEST(Verdict, ThePanicsMessageIsWhatIsExpected) {
  auto run = run_with(v1::OUTCOME_DUMPED);
  const auto verdict = [&](MessageExpectation message) {
    auto judged = run;
    decide_verdict({.outcome = Outcome::kDumped, .panic_message = message}, judged);
    return judged;
  };
  const MessageExpectation both = {.console = MessageState::kGarbled, .log = MessageState::kWhole};
  EXPECT_THAT(verdict(both).detail(), HasSubstr("nobody was seen to call panic()"));
  EXPECT_EQ(verdict({}).verdict(), v1::VERDICT_PASS);

  run.mutable_panic_message()->set_text("first");
  run.mutable_panic_message()->set_console(v1::PanicMessage::STATE_GARBLED);
  run.mutable_panic_message()->set_log(v1::PanicMessage::STATE_WHOLE);
  EXPECT_EQ(verdict(both).verdict(), v1::VERDICT_PASS);
  const auto failed = verdict({.console = MessageState::kWhole, .log = MessageState::kAbsent});
  EXPECT_EQ(failed.verdict(), v1::VERDICT_FAIL);
  EXPECT_THAT(failed.detail(), HasSubstr("\"first\" is garbled on the console, not whole"));
  EXPECT_THAT(failed.detail(), HasSubstr("is whole in the log, not absent"));
}

TEST(Verdict, AFaultOfTheHarnessIsNeverTheGuests) {
  auto run = run_with(v1::OUTCOME_DUMPED);
  set_undecided(host_error("QEMU died"), run);
  decide_verdict({}, run);
  EXPECT_EQ(run.verdict(), v1::VERDICT_ERROR);
  EXPECT_EQ(run.detail(), "QEMU died");
}

TEST(Verdict, AnUnmetRequirementIsASkip) {
  v1::Run run;
  set_undecided(unsupported("no such symbol"), run);
  decide_verdict({}, run);
  EXPECT_EQ(run.verdict(), v1::VERDICT_SKIP);
  EXPECT_EQ(run.detail(), "no such symbol");
}

}  // namespace
}  // namespace panicroom::harness
