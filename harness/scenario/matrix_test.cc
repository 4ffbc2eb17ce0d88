// `matrix:` and the rows of `expect:`: what comes out of them, and every mistake where it stands.
#include "harness/scenario/matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "harness/scenario/parser.h"

namespace panicroom::harness {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::string_view kTable = R"(name: table-${stop}-${target}
summary: "${stop}: ${target.words}"
matrix:
  stop:
    nmi:  {deliver: nmi}
    late: {deliver: {delay: 2s}}
  target:
    busy: {workload: syscalls, words: at work, steps: []}
    deaf:
      workload: idle
      words: takes no interrupts
      steps:
        - {cpu: 1, at: workload, do: note}
        - {cpu: 1, do: irqs-off}
  exclude:
    - {stop: late, target: busy}
workload: {cpu1: "${target.workload}"}
stop_ipi: {to: 1, deliver: "${stop.deliver}"}
timeline:
  - ${target.steps}
  - {cpu: 0, do: panic, message: "from ${stop}"}
expect:
  - {when: {stop: nmi, kernel: "<6.1"}, outcome: reset}
  - {when: {stop: [nmi]}, outcome: dumped, dump: {log_contains: "${stop}"}}
  - {outcome: dump_incomplete}
)";

TEST(Matrix, OneScenarioACombination) {
  const ParseResult result = parse(kTable, "x.yaml");
  EXPECT_EQ(render(result.diagnostics), "");
  ASSERT_THAT(result.scenarios, SizeIs(3));
  const Scenario& busy = result.scenarios[0];
  const Scenario& deaf = result.scenarios[1];
  const Scenario& late = result.scenarios[2];
  EXPECT_EQ(busy.name, "table-nmi-busy");
  EXPECT_EQ(deaf.name, "table-nmi-deaf");
  EXPECT_EQ(late.name, "table-late-deaf");
  EXPECT_EQ(deaf.summary, "nmi: takes no interrupts");
  EXPECT_THAT(busy.workload, ElementsAre("idle", "syscalls"));
  EXPECT_THAT(late.workload, ElementsAre("idle", "idle"));
  EXPECT_TRUE(std::holds_alternative<hypervisor::DeliverAsNmi>(busy.stop_ipi.front().rule.delivery));
  EXPECT_TRUE(std::holds_alternative<hypervisor::Delay>(late.stop_ipi.front().rule.delivery));
}

TEST(Matrix, AListInAListIsItsItems) {
  const ParseResult result = parse(kTable, "x.yaml");
  ASSERT_THAT(result.scenarios, SizeIs(3));
  EXPECT_THAT(result.scenarios[0].timeline, SizeIs(1));
  const auto& steps = result.scenarios[1].timeline;
  ASSERT_THAT(steps, SizeIs(3));
  EXPECT_TRUE(std::holds_alternative<DoSpin>(steps[1].action));
  EXPECT_EQ(steps[1].line, 14) << "where the step is written";
  EXPECT_EQ(std::get<DoPanic>(steps[2].action).message, "from nmi");
}

TEST(Matrix, TheFirstRowForCombinationAndKernelIsExpected) {
  const ParseResult result = parse(kTable, "x.yaml");
  ASSERT_THAT(result.scenarios, SizeIs(3));
  const Scenario& nmi = result.scenarios[0];
  EXPECT_EQ(nmi.expected_on("5.10.0-46-cloud-amd64").outcome, Outcome::kReset);
  EXPECT_EQ(nmi.expected_on("6.1.0-56-cloud-amd64").outcome, Outcome::kDumped);
  EXPECT_THAT(nmi.expected_on("6.1.0-56-cloud-amd64").dump.log_contains, ElementsAre("nmi"));
  EXPECT_EQ(result.scenarios[2].expected_on("5.10").outcome, Outcome::kDumpIncomplete);
}

TEST(Matrix, ValuesThatAreTheirNames) {
  const ParseResult result = parse(R"(name: cpus-${cpus}
matrix: {cpus: [2, 4]}
machine: {vcpus: "${cpus}"}
timeline: [{cpu: 0, do: panic}]
expect: {outcome: dumped}
)",
                                   "x.yaml");
  EXPECT_EQ(render(result.diagnostics), "");
  ASSERT_THAT(result.scenarios, SizeIs(2));
  EXPECT_EQ(result.scenarios[1].name, "cpus-4");
  EXPECT_EQ(result.scenarios[1].machine.vcpus, 4u);
}

TEST(Expect, RowsByKernelWithoutAMatrix) {
  const ParseResult result = parse(R"(name: a
requires: {kernel: ">=5.10"}
timeline: [{cpu: 0, do: panic}]
expect:
  - {when: {kernel: [">=5.10", "<6.1"]}, outcome: hung}
  - {when: {kernel: ">=6.1"}, outcome: dumped}
)",
                                   "x.yaml");
  EXPECT_EQ(render(result.diagnostics), "");
  ASSERT_THAT(result.scenarios, SizeIs(1));
  EXPECT_EQ(result.scenarios[0].expected_on("6.0.19").outcome, Outcome::kHung);
  EXPECT_EQ(result.scenarios[0].expected_on("7.3.4+deb13-cloud-amd64").outcome, Outcome::kDumped);
}

// As in mistakes_test.cc: `^` stands before the place that must be reported.
struct Mistake {
  std::string title;
  std::string text;
  std::vector<std::string> words;
};

std::string with(std::string_view matrix, std::string_view rest = "") {
  return fmt::format("name: t-${{a}}\nmatrix:\n{}\ntimeline: [{{cpu: 0, do: panic}}]\n{}", matrix,
                     rest.empty() ? "expect: {outcome: dumped}\n" : rest);
}
std::string expecting(std::string_view rows) { return with("  a: [x, y]", fmt::format("expect:\n{}\n", rows)); }

class MatrixMistakeTest : public ::testing::TestWithParam<Mistake> {};

TEST_P(MatrixMistakeTest, IsReportedOnceWhereItStands) {
  std::string text = GetParam().text;
  const auto mark = text.find('^');
  ASSERT_NE(mark, std::string::npos);
  text.erase(mark, 1);
  const std::string before = text.substr(0, mark);
  const ParseResult result = parse(text, "x.yaml");
  ASSERT_THAT(result.diagnostics, SizeIs(1)) << render(result.diagnostics) << text;
  const Diagnostic& found = result.diagnostics.front();
  EXPECT_EQ(found.line, std::count(before.begin(), before.end(), '\n') + 1) << render(result.diagnostics) << text;
  EXPECT_EQ(found.column, static_cast<int>(mark - (before.rfind('\n') + 1) + 1)) << render(result.diagnostics) << text;
  for (const std::string& word : GetParam().words) EXPECT_THAT(found.message, HasSubstr(word));
}

std::string title(const ::testing::TestParamInfo<Mistake>& info) { return info.param.title; }

std::string long_axis(int values) {
  std::string text = "[";
  for (int i = 0; i < values; ++i) text += fmt::format("{}v{}", i == 0 ? "" : ", ", i);
  return text + "]";
}

INSTANTIATE_TEST_SUITE_P(
    Axes, MatrixMistakeTest,
    ::testing::Values(
        Mistake{"NotAMap", with("  ^[a]"), {"'matrix'", "a list"}},
        Mistake{"NoAxes",
                "name: t\nmatrix: ^{}\ntimeline: [{cpu: 0, do: panic}]\nexpect: {outcome: dumped}\n",
                {"no axes"}},
        Mistake{"NoValues", with("  ^a: []"), {"'a'", "no values"}},
        Mistake{"ValueTwice", with("  a: [x, ^x]"), {"'x'", "twice"}},
        Mistake{"NamedValueTwice", with("  a: {x: , ^x: }"), {"duplicate", "'x'"}},
        Mistake{"ValueIsNoWord", with("  a: [^x y]"), {"'x y'", "word"}},
        Mistake{"AxisIsNoWord", with("  a: [x]\n  ^b c: [x]"), {"'b c'", "word"}},
        Mistake{"PartIsNoWord", with("  a: {x: {^p q: 1}}"), {"'p q'", "word"}},
        Mistake{"MatrixTwice", with("  a: [x]\n^matrix: {b: [x]}"), {"duplicate", "'matrix'"}},
        Mistake{"KernelIsNoAxis", with("  a: [x]\n  ^kernel: [x]"), {"'kernel'", "command line"}},
        Mistake{"PartsAreNoList", with("  a: {x: ^[1]}"), {"'x'", "a list"}},
        Mistake{"Unused", with("  a: [x]\n  ^b: [y]"), {"'b'", "used nowhere", "${b}"}},
        Mistake{"TooManyAxes",
                with("  a: [x]\n  b: [x]\n  c: [x]\n  d: [x]\n  e: [x]\n  f: [x]\n  g: [x]\n  h: [x]\n  ^i: [x]"),
                {"more than 8 axes"}},
        Mistake{"TooManyCombinations",
                fmt::format("name: t-${{a}}-${{b}}\nmatrix:\n  ^a: {}\n  b: {}\ntimeline: [{{cpu: 0, do: panic}}]\n"
                            "expect: {{outcome: dumped}}\n",
                            long_axis(40), long_axis(40)),
                {"more than 1000 combinations"}},
        Mistake{"ExcludeUnknownValue", with("  a: [x, y]\n  exclude: [{a: ^z}]"), {"'a'", "'z'"}},
        Mistake{"ExcludeUnknownAxis", with("  a: [x, y]\n  exclude: [{^b: x}]"), {"exclude", "'b'"}},
        Mistake{"ExcludesNothing", with("  a: [x, y]\n  exclude: [{a: x}, ^{a: x}]"), {"excludes nothing"}},
        Mistake{"ExcludesAll", with("  ^a: [x, y]\n  exclude: [{a: [x, y]}]"), {"every combination"}}),
    title);

INSTANTIATE_TEST_SUITE_P(
    References, MatrixMistakeTest,
    ::testing::Values(
        Mistake{
            "UnknownAxis", with("  a: [x]", "summary: ^\"${b}\"\nexpect: {outcome: dumped}\n"), {"'${b}'", "no axis"}},
        Mistake{"NearMiss",
                "name: ^t-${stopp}\nmatrix: {stop: [x], other: [y]}\nsummary: ${stop} ${other}\n"
                "timeline: [{cpu: 0, do: panic}]\nexpect: {outcome: dumped}\n",
                {"did you mean 'stop'?"}},
        Mistake{"NoEnd", with("  a: [x]", "summary: ^\"${a\"\nexpect: {outcome: dumped}\n"), {"without a '}'"}},
        Mistake{"WithinTheMatrix",
                with("  a: {x: {part: ^\"${a}\"}}", "summary: ${a.part}\nexpect: {outcome: dumped}\n"),
                {"'${a}'", "does not refer"}},
        Mistake{"EmptyPart", with("  a: [x]", "summary: ^\"${a.}\"\nexpect: {outcome: dumped}\n"), {"'${a.}'"}},
        Mistake{"MissingPart",
                with("  a: {x: {part: 1}, ^y: {}}", "summary: \"${a.part}\"\nexpect: {outcome: dumped}\n"),
                {"'y'", "'part'", "line 5"}},
        Mistake{"UnusedPart", with("  a: {x: {^part: 1}}"), {"${a.part}"}},
        Mistake{"ListInText",
                with("  a: {x: {part: [1]}}", "summary: ^\"no ${a.part}\"\nexpect: {outcome: dumped}\n"),
                {"'${a.part}'", "'x'", "a list"}},
        Mistake{"TooLong",
                with(fmt::format("  a: {{x: {{part: {}}}}}", std::string(3000, 'p')),
                     "summary: ^\"${a.part} ${a.part}\"\nexpect: {outcome: dumped}\n"),
                {"4096"}},
        // Mistakes that only a combination has: at the value, with the combination.
        Mistake{"WrongValue",
                "name: t-${a}\nmatrix:\n  a: {x: {at: workload}, y: {at: ^\"ipi:\"}}\n"
                "timeline: [{cpu: 0, at: \"${a.at}\", do: panic}]\nexpect: {outcome: dumped}\n",
                {"ipi:", "(in a: y)"}},
        Mistake{"SameName",
                "name: ^t\nmatrix: {a: [x, y, z]}\nsummary: ${a}\ntimeline: [{cpu: 0, do: panic}]\n"
                "expect: {outcome: dumped}\n",
                {"'t' already", "x.yaml:1 (a: x)", "(in a: y)"}}),
    title);

INSTANTIATE_TEST_SUITE_P(
    Rows, MatrixMistakeTest,
    ::testing::Values(
        Mistake{"NoRowForACombination", expecting("  ^- {when: {a: x}, outcome: dumped}"), {"(a: y)"}},
        Mistake{"UnknownValue", expecting("  - {when: {a: ^z}, outcome: dumped}\n  - {outcome: reset}"), {"'z'"}},
        Mistake{"UnknownAxis", expecting("  - {when: {^b: x}, outcome: dumped}\n  - {outcome: reset}"), {"'b'"}},
        Mistake{
            "NeverDecides", expecting("  - {outcome: dumped}\n  - ^{when: {a: x}, outcome: reset}"), {"never decides"}},
        Mistake{"OnlyExcluded",
                with("  a: [x, y]\n  exclude: [{a: y}]",
                     "expect:\n  - ^{when: {a: y}, outcome: dumped}\n  - {outcome: reset}\n"),
                {"no combination"}},
        Mistake{
            "KernelThatNoRowIsFor",
            expecting("  ^- {when: {a: x, kernel: \">=6.1\"}, outcome: dumped}\n  - {when: {a: y}, outcome: reset}"),
            {"kernel 0.0.0", "(in a: x)"}},
        Mistake{"KernelThatIsTaken",
                expecting("  - {when: {kernel: \">=6.1\"}, outcome: dumped}\n  - ^{when: {kernel: \">=6.6\"}, outcome: "
                          "hung}\n  - {outcome: reset}"),
                {"never decides"}},
        Mistake{"NoRows", with("  a: [x]", "expect: ^[]\n"), {"no rows"}},
        Mistake{"EmptyWhen", expecting("  - {^when: , outcome: dumped}"), {"when"}},
        Mistake{"RowWithoutOutcome", expecting("  - ^{dump: {panic_cpu: 0}}"), {"'outcome'"}},
        Mistake{"WhenWithoutAMatrix",
                "name: t\ntimeline: [{cpu: 0, do: panic}]\nexpect:\n  - {when: {^a: x, kernel: \"<6.1\"}, outcome: "
                "dumped}\n  - {outcome: reset}\n",
                {"'a'", "when"}}),
    title);

// However the text is made: bounded, and every bound is told.
TEST(MatrixBounds, ManyCombinationsOfALongDocument) {
  std::string text = "name: t-${a}\nmatrix: {a: " + long_axis(900) + "}\nrefs:\n";
  for (int i = 0; i < 2000; ++i) text += "  - r\n";
  text += "timeline: [{cpu: 0, do: panic}]\nexpect: {outcome: dumped}\n";
  const ParseResult result = parse(text, "x.yaml");
  EXPECT_THAT(result.scenarios, IsEmpty());
  ASSERT_THAT(result.diagnostics, SizeIs(1));
  EXPECT_THAT(result.diagnostics[0].message, HasSubstr("more than 200000 values"));
}

TEST(MatrixBounds, MistakesOfManyCombinations) {
  const ParseResult result = parse("name: t-${a}\nmatrix: {a: " + long_axis(900) +
                                       "}\nworkload: {cpu0: \"${a}\"}\ntimeline: [{cpu: 0, do: panic}]\n"
                                       "expect: {outcome: dumped}\n",
                                   "x.yaml");
  EXPECT_THAT(result.diagnostics, SizeIs(101));
}

}  // namespace
}  // namespace panicroom::harness
