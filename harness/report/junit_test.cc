#include "harness/report/junit.h"

#include <gtest/gtest.h>

#include <pugixml.hpp>
#include <string>

#include "harness/report/sample_report.h"

namespace panicroom::harness {
namespace {

using namespace std::string_literals;

TEST(Junit, TheWholeFileIsAsExpected) {
  EXPECT_EQ(report_to_junit(sample::report()), R"xml(<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="panicroom" tests="4" failures="1" errors="1" skipped="1" time="7.500">
  <testsuite name="6.1.0-56-cloud-amd64, qemu (tcg)" tests="4" failures="1" errors="1" skipped="1" time="7.500" timestamp="2023-11-14T22:13:20Z" hostname="build-7">
    <testcase name="single-panic" classname="6.1.0-56-cloud-amd64, qemu (tcg)" time="2.500" file="scenarios/single-panic.yaml" />
    <testcase name="second-panic" classname="6.1.0-56-cloud-amd64, qemu (tcg)" time="2.500" file="scenarios/second-panic.yaml">
      <failure message="the machine was reset" type="reset">expected  dumped
happened  reset after 2.5 s
because   the machine was reset
          before the capture kernel was entered
step 2    cpu 0: hold at __crash_kexec/lock-taken; happened at 1.250 s on CPU 0, __crash_kexec+0x5b (RIP 0xffffffff8115a3b0)
step 3    not reached: cpu 1: note at panic_smp_self_stop
          and so the step after it
stopped   CPU 0 by an NMI at 1.875 s: 0xf8 from CPU 1
dump      panic_cpu: expected 0, found 1
dump      no registers of CPU 1
CPU 0     stop_this_cpu+0x14 (first kernel), interrupts off, NMIs blocked, halted
            from nmi_handle+0x5a
            from __crash_kexec+0x5b
CPU 1     0xffffffff81234567, interrupts on
scenario  scenarios/second-panic.yaml
logs      second-panic/1/console.log and agent.log</failure>
      <system-out>step 1    cpu 0: panic at workload; happened at 1.000 s on CPU 0, panic (RIP 0xffffffff81000010)
step 2    cpu 0: hold at __crash_kexec/lock-taken; happened at 1.250 s on CPU 0, __crash_kexec+0x5b (RIP 0xffffffff8115a3b0)
step 3    not reached: cpu 1: note at panic_smp_self_stop
step 4    not reached: cpu 0: release
stage     1.000 s injected on CPU 0
stage     1.875 s stopped-by-nmi on CPU 0: 0xf8 from CPU 1
CPU 0     stop_this_cpu+0x14 (first kernel), interrupts off, NMIs blocked, halted
            from nmi_handle+0x5a
            from __crash_kexec+0x5b
CPU 1     0xffffffff81234567, interrupts on</system-out>
    </testcase>
    <testcase name="oops" classname="6.1.0-56-cloud-amd64, qemu (tcg)" time="2.500" file="scenarios/oops.yaml">
      <error message="QEMU ended with signal 9" type="no outcome">expected  dumped
happened  no outcome after 2.5 s
because   QEMU ended with signal 9
scenario  scenarios/oops.yaml</error>
    </testcase>
    <testcase name="stop-ipi-#drop" classname="6.1.0-56-cloud-amd64, qemu (tcg)" time="0.000" file="scenarios/stop-ipi-#drop.yaml">
      <skipped message="needs the capability #ipi-policy" />
    </testcase>
  </testsuite>
</testsuites>
)xml");
}

TEST(Junit, GuestTextComesBackFromTheXmlEscaped) {
  v1::Report report;
  auto& run = *report.add_runs() = sample::run("]]><x a=\"1\"/>", v1::VERDICT_FAIL, v1::OUTCOME_HUNG);
  run.set_detail("nul \0, esc \x1b, \xff, ]]> <&> \uffff"s);
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(report_to_junit(report).c_str()));
  const auto test_case = document.select_node("/testsuites/testsuite/testcase").node();
  EXPECT_STREQ(test_case.attribute("name").value(), "]]><x a=\"1\"/>");
  EXPECT_STREQ(test_case.child("failure").attribute("message").value(),
               "nul \\x00, esc \\x1b, \\xff, ]]> <&> \\u{ffff}");
}

TEST(Junit, TrialsAndKernelsAreToldApart) {
  v1::Report report;
  for (std::uint32_t i = 1; i <= 2; ++i)
    (*report.add_runs() = sample::run("a", v1::VERDICT_PASS, v1::OUTCOME_DUMPED)).set_repeat(i);
  (*report.add_runs() = sample::run("a", v1::VERDICT_PASS, v1::OUTCOME_DUMPED)).set_kernel_release("6.12.1");
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(report_to_junit(report).c_str()));
  std::vector<std::string> names;
  for (const auto& node : document.select_nodes("//testcase"))
    names.emplace_back(std::string(node.node().attribute("classname").value()) + "/" +
                       node.node().attribute("name").value());
  EXPECT_EQ(names, (std::vector<std::string>{"6.1.0-56-cloud-amd64, qemu (tcg)/a (trial 1)",
                                             "6.1.0-56-cloud-amd64, qemu (tcg)/a (trial 2)", "6.12.1, qemu (tcg)/a"}));
}

TEST(Junit, AnEmptyReportIsAnEmptyDocument) {
  EXPECT_EQ(report_to_junit({}), R"(<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="panicroom" tests="0" failures="0" errors="0" skipped="0" time="0.000" />
)");
}

}  // namespace
}  // namespace panicroom::harness
