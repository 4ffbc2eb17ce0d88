#include "harness/control/words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::control {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST(Words, AnOpenMachineIsAScenariosMachine) {
  v1::OpenOperation open;
  open.mutable_machine()->set_vcpus(4);
  open.mutable_machine()->set_memory("1G");
  open.set_kernel_cmdline("quiet 7");
  (*open.mutable_workload())["cpu3"] = "syscalls";
  open.add_unfix("panic-gate");
  auto& rule = *open.add_stop_ipi();
  rule.set_kind("nmi");
  rule.set_to(1);
  rule.set_delay("2s");
  const auto [scenario, mistakes] = read_open(open);
  EXPECT_THAT(mistakes, IsEmpty());
  EXPECT_EQ(scenario.machine.vcpus, 4U);
  EXPECT_EQ(scenario.machine.memory_bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(scenario.machine.crashkernel_bytes, std::uint64_t{128} << 20);
  EXPECT_EQ(scenario.kernel_cmdline, "quiet 7");
  EXPECT_EQ(scenario.workload, (std::vector<std::string>{"idle", "idle", "idle", "syscalls"}));
  EXPECT_THAT(scenario.unfix, SizeIs(1));
  ASSERT_THAT(scenario.stop_ipi, SizeIs(1));
  EXPECT_EQ(scenario.stop_ipi[0].rule.target, VcpuId{1});
  EXPECT_EQ(std::get<hypervisor::Delay>(scenario.stop_ipi[0].rule.delivery).by, std::chrono::seconds(2));
}

TEST(Words, NothingAtAllIsADefaultMachine) {
  const auto [scenario, mistakes] = read_open({});
  EXPECT_THAT(mistakes, IsEmpty());
  EXPECT_EQ(scenario.machine.vcpus, 2U);
  EXPECT_THAT(scenario.stop_ipi, IsEmpty());
}

TEST(Words, MistakesAreThoseOfScenarios) {
  v1::OpenOperation open;
  open.mutable_machine()->set_vcpus(65);
  open.mutable_machine()->set_memory("lots");
  const auto opened = read_open(open);
  ASSERT_THAT(opened.mistakes, SizeIs(1));
  EXPECT_EQ(opened.mistakes[0].field, "open.machine");
  EXPECT_THAT(opened.mistakes[0].description, HasSubstr("'vcpus' is 65"));
  EXPECT_THAT(opened.mistakes[0].description, HasSubstr("lots"));
  for (int i = 0; i < 300; ++i) open.mutable_machine()->add_pin(0);
  EXPECT_THAT(read_open(open).mistakes[0].description, HasSubstr("more than"));
}

TEST(Words, ADeliveryIsSaidOnce) {
  google::protobuf::RepeatedPtrField<v1::ControlStopIpi> rules;
  rules.Add()->set_delay("2s");
  EXPECT_TRUE(read_stop_ipi(rules, 2));
  rules[0].set_deliver("drop");
  EXPECT_FALSE(read_stop_ipi(rules, 2));
  rules[0].clear_delay();
  rules[0].set_from(2);
  EXPECT_THAT(read_stop_ipi(rules, 2).error().message(), HasSubstr("from"));
  rules.Clear();
  for (int i = 0; i <= kMaxStopIpiRules; ++i) rules.Add()->set_deliver("drop");
  EXPECT_FALSE(read_stop_ipi(rules, 2));
}

TEST(Words, InjectionsAreSteps) {
  v1::InjectOperation inject;
  EXPECT_FALSE(read_injection(inject, 2));
  inject.mutable_panic();
  EXPECT_EQ(std::get<harness::DoPanic>(read_injection(inject, 2)->action).message, "panicroom");
  inject.mutable_panic()->set_message("100%");
  EXPECT_FALSE(read_injection(inject, 2));
  inject.mutable_irqs_off()->set_lasts("250ms");
  const auto window = std::get<harness::DoSpin>(read_injection(inject, 2)->action);
  EXPECT_TRUE(window.irqs_off);
  EXPECT_EQ(window.for_time, std::chrono::milliseconds(250));
  inject.mutable_irqs_off()->set_until("panic");
  EXPECT_FALSE(read_injection(inject, 2));  // One of them.
  inject.mutable_mce()->set_bank(5);
  EXPECT_EQ(std::get<harness::DoMce>(read_injection(inject, 2)->action).error.bank, 5U);
  inject.set_cpu(2);
  EXPECT_THAT(read_injection(inject, 2).error().message(), HasSubstr("cpu"));
}

}  // namespace
}  // namespace panicroom::control
