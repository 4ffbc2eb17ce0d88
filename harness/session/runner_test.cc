// What the runner does around the machines. The scenarios require what the synthetic kernels are not, so that their
// trials are decided (as skips) without a machine; trials on real kernels are in tests/.
#include "harness/session/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "kernels/image/synthetic_kernel.h"

namespace panicroom::harness {
namespace {

using kernels::KernelImage;
using testing::ElementsAre;
using testing::HasSubstr;

class RunnerTest : public testing::Test {
 protected:
  RunnerTest() {
    request_.engine = "none";
    request_.out = testing::TempDir();
    request_.directory = testing::TempDir();
    request_.factory = [](const hypervisor::MachineConfig& /*config*/) -> Result<std::unique_ptr<hypervisor::Machine>> {
      ADD_FAILURE() << "no machine is needed";
      return host_error("none");
    };
  }

  void add_scenario(const std::string& name, std::uint32_t vcpus) {
    Scenario scenario;
    scenario.name = name;
    scenario.machine.vcpus = vcpus;
    scenario.requires_.kernel.at_least = "99.0";
    request_.scenarios.push_back(std::move(scenario));
  }
  void add_kernel(const std::string& reference) {
    request_.kernels.push_back({reference, [this, reference](const StageSink& on_stage) {
                                  on_stage("loading");
                                  auto image =
                                      KernelImage::from_file_content(reference, kernels::testing::build_kernel({}));
                                  EXPECT_TRUE(image) << image.error().message();
                                  auto shared = std::make_shared<const KernelImage>(*std::move(image));
                                  const std::lock_guard lock(mutex_);
                                  ++loads_[reference];
                                  for (const auto& other : images_) in_memory_ += other.expired() ? 0 : 1;
                                  images_.push_back(shared);
                                  return Result<std::shared_ptr<const KernelImage>>(shared);
                                }});
  }
  void add_missing_kernel(const std::string& reference, const Error& error) {
    request_.kernels.push_back({reference, [error](const StageSink& /*on_stage*/) {
                                  return Result<std::shared_ptr<const KernelImage>>(error);
                                }});
  }
  Result<> run() {
    const auto progress = make_silent_progress();
    const RunCallbacks callbacks{
        .on_scenario = [&](const std::vector<const v1::Run*>& trials) { ended_.push_back(trials.front()->scenario()); },
        .on_decided = [&](const v1::Report& decided) { decided_.push_back(decided); }};
    return run_scenarios(request_, callbacks, *progress, cancellation_, report_);
  }
  // "scenario kernel repeat" of each run.
  static std::vector<std::string> runs(const v1::Report& report) {
    std::vector<std::string> texts;
    for (const auto& run : report.runs()) {
      texts.push_back(fmt::format("{} {} {}", run.scenario(), run.kernel_reference(), run.repeat()));
    }
    return texts;
  }

  RunRequest request_;
  Cancellation cancellation_;
  v1::Report report_;
  std::vector<std::string> ended_;
  std::vector<v1::Report> decided_;
  std::mutex mutex_;
  std::map<std::string, int> loads_;
  std::vector<std::weak_ptr<const KernelImage>> images_;
  int in_memory_ = 0;  // Images of other kernels that were still there when one was loaded.
};

TEST_F(RunnerTest, EachKernelIsLoadedOnceAndDroppedBeforeTheNext) {
  for (const char* kernel : {"k1", "k2", "k3"}) add_kernel(kernel);
  add_scenario("a", 2);
  add_scenario("b", 4);
  add_scenario("c", 2);
  ASSERT_TRUE(run());
  EXPECT_EQ(loads_, (std::map<std::string, int>{{"k1", 1}, {"k2", 1}, {"k3", 1}}));
  EXPECT_EQ(in_memory_, 0);
  for (const auto& image : images_) EXPECT_TRUE(image.expired());
  EXPECT_THAT(runs(report_),
              ElementsAre("a k1 1", "b k1 1", "c k1 1", "a k2 1", "b k2 1", "c k2 1", "a k3 1", "b k3 1", "c k3 1"));
  for (const auto& run : report_.runs()) {
    EXPECT_EQ(run.verdict(), v1::VERDICT_SKIP) << run.detail();
    EXPECT_EQ(run.kernel_release(), kernels::testing::kSyntheticRelease);
    EXPECT_EQ(run.capture_kernel_release(), kernels::testing::kSyntheticRelease);
  }
  // Three images of one release do not share their logs.
  EXPECT_EQ(report_.runs(0).artifacts(), "6.1.0-test-amd64/a/1");
  EXPECT_EQ(report_.runs(3).artifacts(), "6.1.0-test-amd64_2/a/1");
}

TEST_F(RunnerTest, AKernelThatCannotBeHadIsAnErrorOfItsRunsAlone) {
  add_kernel("good");
  add_missing_kernel("debian:sid/amd64", host_error("no network"));
  add_missing_kernel("arm", unsupported("another architecture"));
  add_kernel("also good");
  add_scenario("a", 2);
  add_scenario("b", 4);
  ASSERT_TRUE(run());
  ASSERT_EQ(report_.runs_size(), 8);
  for (const int i : {0, 1, 6, 7}) EXPECT_EQ(report_.runs(i).verdict(), v1::VERDICT_SKIP);
  for (const int i : {2, 3, 4, 5}) EXPECT_EQ(report_.runs(i).verdict(), v1::VERDICT_ERROR);
  EXPECT_EQ(report_.runs(2).kernel_release(), "debian:sid/amd64");
  EXPECT_EQ(report_.runs(2).capture_kernel_release(), "debian:sid/amd64");
  EXPECT_EQ(report_.runs(2).detail(), "no network");
  EXPECT_EQ(report_.runs(2).artifacts(), "");
  EXPECT_THAT(report_.runs(5).detail(), HasSubstr("architecture"));
}

TEST_F(RunnerTest, WhatIsDecidedIsToldAfterEachScenario) {
  add_kernel("k1");
  add_missing_kernel("k2", host_error("no network"));
  add_scenario("a", 2);
  add_scenario("b", 2);
  request_.repeat = 2;
  report_.set_panicroom_version("1");
  ASSERT_TRUE(run());
  EXPECT_THAT(ended_, ElementsAre("a", "b", "a", "b"));
  ASSERT_EQ(decided_.size(), 4u);
  EXPECT_THAT(runs(decided_[0]), ElementsAre("a k1 1", "a k1 2"));
  EXPECT_EQ(decided_[0].panicroom_version(), "1");
  EXPECT_EQ(decided_[2].runs_size(), 6);
  EXPECT_EQ(decided_[3].SerializeAsString(), report_.SerializeAsString());
}

TEST_F(RunnerTest, JobsChangeNeitherTheOrderNorTheResult) {
  for (int i = 0; i < 6; ++i) add_kernel("k" + std::to_string(i));
  add_missing_kernel("k6", host_error("no network"));
  for (std::uint32_t i = 1; i <= 5; ++i) add_scenario("s" + std::to_string(i), i);
  request_.repeat = 3;
  request_.jobs = 4;
  ASSERT_TRUE(run());
  ASSERT_EQ(report_.runs_size(), 7 * 5 * 3);
  int at = 0;
  for (const auto& kernel : request_.kernels) {
    for (const auto& scenario : request_.scenarios) {
      for (std::uint32_t repeat = 1; repeat <= 3; ++repeat, ++at) {
        const auto& run = report_.runs(at);
        EXPECT_EQ(run.kernel_reference(), kernel.reference);
        EXPECT_EQ(run.scenario(), scenario.name);
        EXPECT_EQ(run.repeat(), repeat);
        EXPECT_EQ(run.verdict(), kernel.reference == "k6" ? v1::VERDICT_ERROR : v1::VERDICT_SKIP);
      }
    }
  }
  for (const auto& [kernel, loads] : loads_) EXPECT_EQ(loads, 1) << kernel;
  for (const auto& image : images_) EXPECT_TRUE(image.expired());
  EXPECT_EQ(decided_.size(), 35u);
}

TEST_F(RunnerTest, ACancelledRunKeepsWhatWasDecided) {
  add_kernel("k1");
  request_.kernels.push_back({"k2", [this](const StageSink& /*on_stage*/) {
                                cancellation_.request();
                                return Result<std::shared_ptr<const KernelImage>>(host_error("interrupted"));
                              }});
  add_scenario("a", 2);
  const auto ended = run();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().kind(), ErrorKind::kCancelled);
  EXPECT_THAT(runs(report_), ElementsAre("a k1 1"));
}

}  // namespace
}  // namespace panicroom::harness
