#include "harness/events/fold.h"

#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

class FoldTest : public testing::Test {
 protected:
  FoldTest() {
    v1::Event begin;
    auto& started = *begin.mutable_trial_started()->mutable_run();
    started.set_scenario("second-panic");
    for (std::uint32_t number = 1; number <= 2; ++number) {
      auto& step = *started.add_steps();
      step.set_number(number);
      step.set_text("a step");
      step.set_cpu(static_cast<std::int32_t>(number) - 1);
    }
    apply(begin, run_);
  }

  v1::Event at(std::int32_t milliseconds) {
    v1::Event event;
    event.mutable_at()->set_nanos(milliseconds * 1'000'000);
    return event;
  }

  v1::Run run_;
};

TEST_F(FoldTest, TheFirstEventNamesTheTrialAndItsSteps) {
  EXPECT_EQ(run_.scenario(), "second-panic");
  ASSERT_EQ(run_.steps_size(), 2);
  EXPECT_FALSE(run_.steps(0).happened());
}

TEST_F(FoldTest, AStepThatHappensIsFoundByItsNumber) {
  auto event = at(20);
  event.mutable_step_happened()->set_number(2);
  event.mutable_step_happened()->set_rip(0xffffffff81000010);
  event.mutable_step_happened()->set_place("panic");
  apply(event, run_);
  EXPECT_FALSE(run_.steps(0).happened());
  EXPECT_TRUE(run_.steps(1).happened());
  EXPECT_EQ(run_.steps(1).place(), "panic");
  EXPECT_EQ(run_.steps(1).at().nanos(), 20'000'000);
  EXPECT_EQ(run_.steps(1).cpu(), 1);
  event.mutable_step_happened()->set_number(9);
  apply(event, run_);
  EXPECT_EQ(run_.steps_size(), 2);
}

TEST_F(FoldTest, TheReportSaysHowLongAStepHasWaited) {
  auto event = at(20);
  event.mutable_step_armed()->set_number(2);
  apply(event, run_);
  EXPECT_FALSE(run_.steps(1).has_wait());
  event.mutable_step_armed()->mutable_wait()->set_nanos(7);
  apply(event, run_);
  EXPECT_EQ(run_.steps(1).wait().nanos(), 7);
  EXPECT_FALSE(run_.steps(1).happened());
  event.mutable_step_armed()->set_number(9);
  apply(event, run_);
  EXPECT_EQ(run_.steps_size(), 2);
}

TEST_F(FoldTest, WhoStoppedACpuIsTheStagesNote) {
  auto event = at(30);
  event.set_cpu(0);
  event.mutable_stopped()->set_how(v1::Stopped::HOW_NMI);
  event.mutable_stopped()->set_by(1);
  apply(event, run_);
  apply(event, run_);  // Named once.
  ASSERT_EQ(run_.stages_size(), 1);
  EXPECT_EQ(run_.stages(0).name(), "stopped-by-nmi");
  EXPECT_EQ(run_.stages(0).cpu(), 0);
  EXPECT_EQ(run_.stages(0).note(), "sent by CPU 1");
  event.set_cpu(1);
  apply(event, run_);
  EXPECT_EQ(run_.stages_size(), 2);
}

TEST_F(FoldTest, InjectionsAreAStageAndPlainChangesAreNot) {
  auto event = at(1);
  event.set_cpu(1);
  event.mutable_injected()->set_what(v1::Injected::WHAT_SET);
  apply(event, run_);
  EXPECT_EQ(run_.stages_size(), 0);
  event.mutable_injected()->set_what(v1::Injected::WHAT_OOPS);
  apply(event, run_);
  ASSERT_EQ(run_.stages_size(), 1);
  EXPECT_EQ(run_.stages(0).name(), "injected");
  EXPECT_EQ(run_.stages(0).note(), "oops");
  event.set_cpu(0);
  event.mutable_injected()->set_what(v1::Injected::WHAT_MCE);
  apply(event, run_);
  ASSERT_EQ(run_.stages_size(), 2);
  EXPECT_EQ(run_.stages(1).note(), "mce");
}

TEST_F(FoldTest, AnIpiKeepsWhatBecameOfItAtEachTarget) {
  auto event = at(5);
  event.set_cpu(1);
  event.mutable_ipi()->set_vector(0xf8);
  event.mutable_ipi()->set_sent_as("nmi");
  for (const auto* delivered : {"fixed", "dropped"}) {
    auto& target = *event.mutable_ipi()->add_targets();
    target.set_cpu(static_cast<std::uint32_t>(event.ipi().targets_size()) * 2);
    target.set_delivered_as(delivered);
  }
  apply(event, run_);
  ASSERT_EQ(run_.ipis_size(), 1);
  EXPECT_EQ(run_.ipis(0).source(), 1u);
  EXPECT_EQ(run_.ipis(0).targets(1), 4u);
  EXPECT_EQ(run_.ipis(0).delivered_as(1), "dropped");
  EXPECT_FALSE(run_.ipis(0).unwatched());
  for (int i = 0; i < kMaxIpis + 5; ++i) apply(event, run_);
  EXPECT_EQ(run_.ipis_size(), kMaxIpis);
  EXPECT_EQ(run_.ipis_left_out(), 6u);
  auto too_many = at(6);
  too_many.mutable_ipis_left_out()->set_count(10);
  apply(too_many, run_);
  EXPECT_EQ(run_.ipis_left_out(), 16u);
}

TEST_F(FoldTest, AnIpiThatNobodyWatchedHasTheTimeAtWhichItWasSent) {
  auto event = at(5);
  event.set_cpu(1);
  event.mutable_ipi()->set_vector(0xfd);
  event.mutable_ipi()->mutable_unwatched_at()->set_seconds(3);
  apply(event, run_);
  ASSERT_EQ(run_.ipis_size(), 1);
  EXPECT_TRUE(run_.ipis(0).unwatched());
  EXPECT_EQ(run_.ipis(0).at().seconds(), 3);
}

TEST_F(FoldTest, OnlyFinalPlacesAreTheReports) {
  auto event = at(5);
  event.mutable_places()->add_cpus()->set_place("do_idle");
  apply(event, run_);
  EXPECT_EQ(run_.places_size(), 0);
  event.mutable_places()->set_final(true);
  apply(event, run_);
  apply(event, run_);
  EXPECT_EQ(run_.places_size(), 1);
}

}  // namespace
}  // namespace panicroom::harness
