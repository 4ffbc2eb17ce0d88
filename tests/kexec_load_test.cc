// The capture kernel loaded by kexec_load(), laid out by the agent: on a real kernel, as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <iostream>
#include <string>

#include "base/file.h"
#include "harness/scenario/parser.h"
#include "harness/session/engine.h"
#include "harness/session/runner.h"
#include "kernels/image/kernel_image.h"
#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::Property;

class KexecLoadTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!test_kernel()) GTEST_SKIP() << no_kernel();
  }
  // One CPU panics in a machine of that kind.
  CommandResult run(std::string_view machine, std::string_view more = "", std::vector<std::string> arguments = {}) {
    const auto file = scratch_.file("load.yaml", fmt::format(R"(
name: load
summary: One CPU panics.
machine: {}
workload: {{cpu0: syscalls, cpu1: syscalls}}
timeline:
  - {{cpu: 0, at: workload, do: panic, message: x}}
expect: {{outcome: dumped, dump: {{panic_cpu: 0, cpus_with_registers: 2, missing_cpus: [], log_contains: x}}}}
{}
)",
                                                             machine, more));
    arguments.push_back(file.native());
    return run_scenarios(scratch_, arguments);
  }
  void expect_error(const CommandResult& result, std::initializer_list<std::string_view> words) {
    EXPECT_EQ(result.status, 3) << result.out << result.err;
    ASSERT_EQ(result.report.runs_size(), 1);
    EXPECT_EQ(result.report.runs(0).verdict(), v1::VERDICT_ERROR);
    for (const auto word : words) EXPECT_THAT(result.report.runs(0).detail(), HasSubstr(word));
  }

  Scratch scratch_;
};

TEST_F(KexecLoadTest, TheDumpIsAsGoodInEveryTrialOfAMachine) {
  const auto result = run("{kexec: load}", "", {"--repeat", "2"});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  ASSERT_EQ(result.report.runs_size(), 2);
  for (const auto& one : result.report.runs()) {
    EXPECT_EQ(one.outcome(), v1::OUTCOME_DUMPED) << one.detail();
    EXPECT_THAT(one.stages(), Contains(AllOf(Property(&v1::Stage::name, "booted"),
                                             Property(&v1::Stage::note, HasSubstr("kexec_load()")))));
    // There is no digest that the host could compute in the guest's place.
    EXPECT_THAT(one.stages(), Not(Contains(Property(&v1::Stage::name, "capture-image-checked"))));
  }
}

TEST_F(KexecLoadTest, TheOrdinaryCallIsTheDefault) {
  const auto result = run("{}", "", {"--repeat", "2"});
  ASSERT_EQ(result.report.runs_size(), 2);
  EXPECT_THAT(result.report.runs(0).stages(), Contains(Property(&v1::Stage::note, HasSubstr("kexec_file_load()"))));
  EXPECT_THAT(result.report.runs(1).stages(), Contains(Property(&v1::Stage::name, "capture-image-checked")));
}

// 3.4 GiB of it and the rest above 4 GiB, as PCs have it; more PT_LOADs, and more to leave out of the capture kernel's.
TEST_F(KexecLoadTest, AMachineWithMemoryAboveTheDevicesIsDumped) {
  const auto result = run("{memory: 4608M, kexec: load}", "timeout: 120s");
  EXPECT_EQ(result.status, 0) << result.out << result.err;
}

TEST_F(KexecLoadTest, ACaptureKernelThatDoesNotFitIsAnErrorThatSaysSo) {
  expect_error(run("{crashkernel: 16M, kexec: load}"), {"raise machine.crashkernel"});
}

TEST_F(KexecLoadTest, AKernelThatForbidsItIsAnErrorThatSaysSo) {
  expect_error(run("{kexec: load}", "kernel: {cmdline: sysctl.kernel.kexec_load_disabled=1}"),
               {"kexec_load()", "kexec_load_disabled"});
}

TEST_F(KexecLoadTest, TheWorkloadThatLoadsKernelsHasItsOwn) {
  const auto file = scratch_.file("both.yaml", R"(
name: both
summary: A CPU panics that loads kernels, before it has the kexec lock.
machine: {kexec: load}
workload: {cpu0: kexec-load, cpu1: syscalls}
timeline:
  - {cpu: 0, at: workload, do: panic}
expect: {outcome: dumped}
)");
  const auto result = run_scenarios(scratch_, {file.native()});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
}

// As an engine would have it that is slow with the kernel's code: the boot without what takes long, and the other call.
TEST_F(KexecLoadTest, WhatIsLeftOutWhereKernelCodeIsSlowIsNotMissed) {
  const std::array paths = {catalogue() / "single-panic.yaml"};
  auto parsed = harness::load(paths);
  ASSERT_TRUE(parsed.diagnostics.empty());
  v1::Report report;
  const auto engine = harness::make_engine("qemu", *report.mutable_host());
  ASSERT_TRUE(engine) << engine.error().message();
  harness::RunRequest request;
  request.scenarios = std::move(parsed.scenarios);
  request.kernels = {{"test", [](const harness::StageSink&) -> Result<std::shared_ptr<const kernels::KernelImage>> {
                        return std::make_shared<const kernels::KernelImage>(
                            TRY(kernels::KernelImage::load(test_kernel().value())));
                      }}};
  request.engine = engine->name;
  request.factory = engine->factory;
  request.pace = {.slowdown = 20};
  request.out = scratch_.path() / "out";
  request.directory = scratch_.path() / "machines";
  harness::Cancellation cancellation;
  const auto progress = harness::make_progress(std::cerr, {});
  const auto ran = harness::run_scenarios(request, {}, *progress, cancellation, report);
  ASSERT_TRUE(ran) << ran.error().message();
  ASSERT_EQ(report.runs_size(), 1);
  EXPECT_EQ(report.runs(0).outcome(), v1::OUTCOME_DUMPED) << report.runs(0).detail();
  EXPECT_EQ(report.runs(0).verdict(), v1::VERDICT_PASS) << report.runs(0).detail();
  EXPECT_THAT(report.runs(0).stages(), Contains(Property(&v1::Stage::note, HasSubstr("by kexec_load()"))));
  const auto console = read_text_file(request.out / report.runs(0).artifacts() / "console.log");
  ASSERT_TRUE(console);
  EXPECT_THAT(*console, HasSubstr("initcall_blacklist="));
}

}  // namespace
}  // namespace panicroom::tests
