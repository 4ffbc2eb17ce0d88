#include "harness/trace/trace.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace panicroom::harness {
namespace {

using nlohmann::json;

class TraceTest : public testing::Test {
 protected:
  v1::Event& at(std::int32_t milliseconds, std::uint32_t cpu) {
    auto& event = events_.emplace_back();
    event.mutable_at()->set_nanos(milliseconds * 1'000'000);
    event.set_cpu(cpu);
    return event;
  }
  // The entries of the trace with these values.
  std::vector<json> entries(const json& wanted) {
    Trace trace;
    trace.add(run_, events_);
    std::vector<json> found;
    const auto document = json::parse(trace.json());
    for (const auto& entry : document.at("traceEvents")) {
      bool fits = true;
      for (const auto& [key, value] : wanted.items()) fits = fits && entry.contains(key) && entry.at(key) == value;
      if (fits) found.push_back(entry);
    }
    return found;
  }
  v1::Run run_;
  std::vector<v1::Event> events_;
};

TEST_F(TraceTest, AHoldIsASliceFromItsBeginningToItsEnd) {
  at(10, 1).mutable_held();
  at(35, 1).mutable_released();
  const auto slices = entries({{"ph", "X"}, {"name", "held"}});
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_DOUBLE_EQ(slices[0]["ts"].get<double>(), 10'000);
  EXPECT_DOUBLE_EQ(slices[0]["dur"].get<double>(), 25'000);
}

TEST_F(TraceTest, WhatIsStillOpenEndsWithTheTrial) {
  at(10, 0).mutable_interrupts_off();
  at(12, 0).mutable_held();
  at(50, 1).mutable_stage()->set_name("jump");
  EXPECT_EQ(entries({{"ph", "X"}, {"name", "interrupts off"}, {"dur", 40'000.0}}).size(), 1u);
  EXPECT_EQ(entries({{"ph", "X"}, {"name", "held"}, {"dur", 38'000.0}}).size(), 1u);
}

TEST_F(TraceTest, AnIpiIsAFlowToEachTargetThatItReached) {
  auto& ipi = *at(5, 0).mutable_ipi();
  ipi.set_sent_as("nmi");
  for (const auto* delivered : {"nmi", "fixed", "dropped"}) {
    auto& target = *ipi.add_targets();
    target.set_cpu(static_cast<std::uint32_t>(ipi.targets_size()));
    target.set_delivered_as(delivered);
  }
  EXPECT_EQ(entries({{"ph", "s"}, {"cat", "ipi"}}).size(), 3u);
  EXPECT_EQ(entries({{"ph", "f"}, {"cat", "ipi"}}).size(), 2u);
  EXPECT_EQ(entries({{"ph", "i"}, {"name", "dropped: IPI from CPU 0"}}).size(), 1u);
}

TEST_F(TraceTest, AnIpiThatNobodyWatchedStandsWhereItWasSent) {
  auto& ipi = *at(5, 0).mutable_ipi();
  ipi.mutable_unwatched_at()->set_nanos(2'000'000);
  ipi.add_targets()->set_cpu(1);
  const auto ends = entries({{"cat", "ipi"}, {"ts", 2000.0}});
  EXPECT_EQ(ends.size(), 2u);
}

TEST_F(TraceTest, GuestsTextIsJsonWhateverItHolds) {
  events_.emplace_back().mutable_console()->set_text("\x1b[2J\"\\ \xff </script>\n");
  run_.set_scenario("a\"b\xc0");
  EXPECT_EQ(entries({{"ph", "i"}, {"name", "\\x1b[2J\"\\ \\xff </script>\\x0a"}}).size(), 1u);
}

}  // namespace
}  // namespace panicroom::harness
