#include "harness/session/recording.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/testing/temporary_directory.h"
#include "harness/events/event_reader.h"
#include "harness/events/fold.h"

namespace panicroom::harness {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RecordingTest : public testing::Test {
 protected:
  std::unique_ptr<Recording> create() {
    auto recording = Recording::create(folder_, run_, [this](std::string_view stage) { stages_.emplace_back(stage); });
    EXPECT_TRUE(recording) << recording.error().message();
    return *std::move(recording);
  }
  TemporaryDirectory directory_;
  const std::filesystem::path folder_ = directory_.path() / "run";
  v1::Run run_;
  std::vector<std::string> stages_;
};

// What a process that is killed leaves.
TEST_F(RecordingTest, EachEventIsOnTheDiskAsSoonAsItHappens) {
  const auto recording = create();
  recording->journal().stage("panic-entered", VcpuId{1});
  EXPECT_EQ(read_events(folder_ / kEventsFile).value().events.size(), 1u);
  recording->journal().held(VcpuId{0}, true);
  const auto log = read_events(folder_ / kEventsFile).value();
  ASSERT_EQ(log.events.size(), 2u);
  EXPECT_EQ(log.events[0].sequence(), 1u);
  EXPECT_EQ(log.events[1].sequence(), 2u);
  EXPECT_TRUE(log.events[1].has_held());
}

TEST_F(RecordingTest, TheReportIsWhatTheEventsSay) {
  const auto recording = create();
  Journal& journal = recording->journal();
  run_.set_scenario("second-panic");
  v1::Event started;
  *started.mutable_trial_started()->mutable_run() = run_;
  started.mutable_trial_started()->mutable_run()->add_steps()->set_number(1);
  journal.add(started);
  journal.injected(VcpuId{0}, v1::Injected::WHAT_PANIC, "first");
  journal.injected(VcpuId{0}, v1::Injected::WHAT_NMI);
  journal.ipi({.source = VcpuId{1},
               .targets = {VcpuId{0}},
               .vector = 2,
               .sent_as = hypervisor::DeliveryMode::kNmi,
               .delivered_as = {hypervisor::DeliveryMode::kNmi}});
  journal.stopped(VcpuId{0}, v1::Stopped::HOW_NMI);
  journal.console("half a li");
  journal.console("ne\nand no more");
  journal.outcome(v1::OUTCOME_RESET, "the machine was reset");
  run_.set_verdict(v1::VERDICT_FAIL);
  run_.set_expected_outcome(v1::OUTCOME_DUMPED);
  journal.verdict();

  v1::Run folded;
  std::vector<std::string> lines;
  const auto log = read_events(folder_ / kEventsFile).value();
  for (const auto& event : log.events) {
    apply(event, folded);
    if (event.has_console()) lines.push_back(event.console().text());
  }
  EXPECT_EQ(folded.SerializeAsString(), run_.SerializeAsString());
  EXPECT_EQ(run_.stages(1).note(), "sent by CPU 1");
  EXPECT_THAT(lines, ElementsAre("half a line", "and no more"));
  EXPECT_THAT(stages_, ElementsAre("injected", "stopped-by-nmi"));
  EXPECT_TRUE(recording->status());
}

TEST_F(RecordingTest, OfIpisThatNobodyWatchedSoManyAreToldAndTheRestIsCounted) {
  const auto recording = create();
  Journal& journal = recording->journal();
  const hypervisor::Ipi reschedule{
      .source = VcpuId{1}, .targets = {VcpuId{0}}, .vector = 0xfd, .delivered_as = {hypervisor::DeliveryMode::kFixed}};
  hypervisor::UnwatchedIpis ipis{
      .sent = {Journal::kMaxUnwatchedIpis - 1, {journal.start() + std::chrono::seconds(2), reschedule}}, .lost = 7};
  journal.unwatched_ipis(ipis);
  ASSERT_EQ(run_.ipis_size(), static_cast<int>(Journal::kMaxUnwatchedIpis) - 1);
  EXPECT_EQ(run_.ipis(0).at().seconds(), 2);
  EXPECT_EQ(run_.ipis(0).source(), 1u);
  EXPECT_TRUE(run_.ipis(0).unwatched());
  ipis.sent.resize(3);
  ipis.lost = 0;
  journal.unwatched_ipis(ipis);
  EXPECT_EQ(run_.ipis_size(), static_cast<int>(Journal::kMaxUnwatchedIpis));
  journal.ipi(reschedule);
  EXPECT_EQ(run_.ipis_size(), static_cast<int>(Journal::kMaxUnwatchedIpis) + 1) << "there is room for what is watched";
  EXPECT_FALSE(run_.ipis(run_.ipis_size() - 1).unwatched());
  EXPECT_EQ(run_.ipis_left_out(), 0u);
  journal.outcome(v1::OUTCOME_RESET, "");
  EXPECT_EQ(run_.ipis_left_out(), 9u);
}

TEST_F(RecordingTest, WhoeverListensIsToldWhatTheFileIsTold) {
  std::vector<v1::Event> told;
  const auto recording =
      Recording::create(
          folder_, run_, [](std::string_view) {}, [&](const v1::Event& event) { told.push_back(event); })
          .value();
  recording->journal().held(VcpuId{0}, true);
  // Until it is cut, and behind that what is not bounded is told to nobody.
  const std::string line(4000, 'x');
  for (std::size_t bytes = 0; bytes < EventLines::kMaxBytes + line.size(); bytes += line.size()) {
    recording->journal().console(line + "\n");
  }
  recording->journal().held(VcpuId{0}, false);
  const auto written = read_events(folder_ / kEventsFile).value().events;
  ASSERT_EQ(told.size(), written.size());
  EXPECT_TRUE(told[told.size() - 2].has_cut());
  for (std::size_t i = 0; i < told.size(); ++i) {
    EXPECT_EQ(told[i].SerializeAsString(), written[i].SerializeAsString()) << i;
  }
}

TEST_F(RecordingTest, ADiskThatIsFullIsNoticedForTheEventsToo) {
  ASSERT_TRUE(make_directories(folder_));
  std::filesystem::create_symlink("/dev/full", folder_ / kEventsFile);
  const auto recording = create();
  recording->journal().held(VcpuId{0}, true);
  const auto status = recording->status();
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr(kEventsFile));
}

}  // namespace
}  // namespace panicroom::harness
