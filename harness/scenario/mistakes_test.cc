// Every kind of mistake by itself: where it is reported, and that the message names the thing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "harness/scenario/parser.h"

namespace panicroom::harness {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A text with one mistake, where `^` stands before the place that must be reported (and is not part of the text), and
// words that the message must have.
struct Mistake {
  std::string title;
  std::string text;
  std::vector<std::string> words;
};

constexpr std::string_view kHead = "name: a\n";
constexpr std::string_view kTimeline = "timeline: [{cpu: 0, at: workload, do: panic}]\n";
constexpr std::string_view kExpect = "expect: {outcome: dumped}\n";

std::string top(std::string_view lines) { return fmt::format("{}{}{}{}\n", kHead, kTimeline, kExpect, lines); }
std::string steps(std::string_view list) { return fmt::format("{}{}timeline:\n{}\n", kHead, kExpect, list); }
std::string step(std::string_view one) { return steps(fmt::format("  - {{{}}}", one)); }
std::string expecting(std::string_view body) { return fmt::format("{}{}expect: {}\n", kHead, kTimeline, body); }

class MistakeTest : public ::testing::TestWithParam<Mistake> {};

TEST_P(MistakeTest, IsReportedWhereItStands) {
  std::string text = GetParam().text;
  const auto mark = text.find('^');
  ASSERT_NE(mark, std::string::npos);
  text.erase(mark, 1);
  const std::string before = text.substr(0, mark);
  const int line = static_cast<int>(std::count(before.begin(), before.end(), '\n')) + 1;
  const auto newline = before.rfind('\n');
  const int column = static_cast<int>(newline == std::string::npos ? mark + 1 : mark - newline);

  const ParseResult result = parse(text, "x.yaml");
  EXPECT_THAT(result.scenarios, IsEmpty());
  ASSERT_THAT(result.diagnostics, SizeIs(1)) << render(result.diagnostics) << text;
  const Diagnostic& found = result.diagnostics.front();
  EXPECT_EQ(found.file, "x.yaml");
  EXPECT_EQ(found.line, line) << render(result.diagnostics) << text;
  EXPECT_EQ(found.column, column) << render(result.diagnostics) << text;
  for (const std::string& word : GetParam().words) EXPECT_THAT(found.message, HasSubstr(word));
}

std::string title(const ::testing::TestParamInfo<Mistake>& info) { return info.param.title; }

INSTANTIATE_TEST_SUITE_P(
    Dump, MistakeTest,
    ::testing::Values(Mistake{"NotAMap", top("dump: ^save"), {"dump"}},
                      Mistake{"UnknownKey", top("dump: {save: true, ^format: elf}"), {"'format'", "dump"}},
                      Mistake{"SaveMissing", top("dump: ^{level: 1}"), {"'save'"}},
                      Mistake{"SaveNotATruthValue", top("dump: {save: ^maybe}"), {"'save'"}},
                      Mistake{"LevelTooHigh", top("dump: {save: true, level: ^32}"), {"'level'", "31"}},
                      Mistake{"LevelOfNothing", top("dump: {save: false, level: ^1}"), {"'level'", "not saved"}},
                      Mistake{"NoDumpToSave",
                              fmt::format("{}{}expect: {{outcome: reset}}\ndump: {{save: ^true}}\n", kHead, kTimeline),
                              {"'save'", "reset"}}),
    title);

INSTANTIATE_TEST_SUITE_P(
    Keys, MistakeTest,
    ::testing::Values(Mistake{"Unknown", top("^colour: red"), {"'colour'", "the scenario"}},
                      Mistake{"NearMiss", top("^timeoutt: 5s"), {"'timeoutt'", "did you mean 'timeout'?"}},
                      Mistake{"UnknownInMachine", top("machine: {^cpus: 2}"), {"'cpus'", "machine", "'vcpus'"}},
                      Mistake{
                          "UnknownInStep", step("cpu: 0, do: panic, ^mesage: x"), {"'mesage'", "step 1", "'message'"}},
                      Mistake{"Duplicate", top("timeout: 5s\n^timeout: 6s"), {"duplicate", "'timeout'", "line 4"}},
                      Mistake{"DuplicateInStep", step("cpu: 0, do: panic, ^cpu: 1"), {"duplicate", "'cpu'"}},
                      Mistake{"NotAWord", top("^[a, b]: 1"), {"a key", "a list"}},
                      Mistake{"NoName", "^timeline: [{cpu: 0, do: panic}]\nexpect: {outcome: dumped}\n", {"'name'"}},
                      Mistake{"NoTimeline", "^name: a\nexpect: {outcome: dumped}\n", {"'timeline'"}},
                      Mistake{"NoExpect", "^name: a\ntimeline: [{cpu: 0, do: panic}]\n", {"'expect'"}},
                      Mistake{"NotAMap", "^just words\n", {"the scenario", "a single value"}},
                      Mistake{"EmptyDocument", "---\n^~\n", {"'the scenario'", "empty"}}),
    title);

INSTANTIATE_TEST_SUITE_P(
    Values, MistakeTest,
    ::testing::Values(
        Mistake{"NameWithBlanks", "name: ^a b\n" + std::string(kTimeline) + std::string(kExpect), {"'name'", "'a b'"}},
        Mistake{"NameWithSlash", "name: ^../x\n" + std::string(kTimeline) + std::string(kExpect), {"'../x'"}},
        Mistake{"EmptyText", top("^summary:"), {"'summary'", "empty"}},
        Mistake{"MapForText", top("summary: ^{a: b}"), {"'summary'", "a text", "a map"}},
        Mistake{"TextForList", top("refs: ^93e13a360ba3"), {"'refs'", "a list"}},
        Mistake{"ListForMap", top("machine: ^[2]"), {"'machine'", "a list"}},
        Mistake{"QuotedNumber", top("machine: {vcpus: ^\"2\"}"), {"'vcpus'", "the text '2'"}},
        Mistake{"WordForNumber", top("machine: {vcpus: ^two}"), {"'vcpus'", "'two'"}},
        Mistake{"NegativeNumber", top("machine: {vcpus: ^-1}"), {"'vcpus'", "'-1'"}},
        Mistake{"NoVcpus", top("machine: {vcpus: ^0}"), {"'vcpus'", "from 1 to 64"}},
        Mistake{"SizeWithoutUnit", top("machine: {memory: ^512}"), {"'memory'", "'512'", "512M"}},
        Mistake{"SizeUnit", top("machine: {memory: ^512Q}"), {"'512Q'"}},
        Mistake{"SizeOverflow", top("machine: {memory: ^99999999999T}"), {"'99999999999T'"}},
        Mistake{"TooLittleMemory", top("machine: {memory: ^64K}"), {"'memory'", "64M"}},
        Mistake{"UnevenMemory", top("machine: {memory: ^524289K}"), {"'memory'", "whole megabytes"}},
        Mistake{"CrashkernelTooLarge", top("machine: {memory: 256M, crashkernel: ^256M}"), {"'crashkernel'", "256M"}},
        Mistake{"MemoryTooSmallForTheDefault", top("machine: {memory: ^128M}"), {"'crashkernel'", "128M"}},
        Mistake{"PinLength", top("machine: {vcpus: 2, pin: ^[0]}"), {"'pin'", "2 vCPU"}},
        Mistake{"KexecWord", top("machine: {kexec: ^lod}"), {"'kexec'", "did you mean 'load'?", "one of file, load"}},
        Mistake{"KexecType", top("machine: {kexec: ^[load]}"), {"'kexec'", "a list"}},
        Mistake{"PinType", top("machine: {vcpus: 2, pin: [0, ^x]}"), {"'pin'", "'x'"}},
        Mistake{"DurationWithoutUnit", top("timeout: ^60"), {"'timeout'", "'60'", "5s"}},
        Mistake{"DurationFraction", top("timeout: ^1.5s"), {"'timeout'", "'1.5s'"}},
        Mistake{"NoTime", top("timeout: ^0s"), {"'timeout'", "more than nothing"}},
        Mistake{"TooLong", top("timeout: ^61m"), {"'timeout'", "longer than 1h"}},
        Mistake{"Overflow", top("timeout: ^18446744073709551615h"), {"'timeout'", "duration"}},
        Mistake{"CmdlineWithCrashkernel", top("kernel: {cmdline: ^\"quiet crashkernel=64M\"}"), {"crashkernel="}},
        Mistake{"CmdlineWithInit", top("kernel: {cmdline: ^rdinit=/bin/sh}"), {"rdinit="}},
        Mistake{"CmdlineLines", top("kernel: {cmdline: ^\"a\\nb\"}"), {"'cmdline'", "one line"}},
        Mistake{"WorkloadUnknown", top("workload: {cpu0: ^syscals}"), {"'syscals'", "'syscalls'", "idle"}},
        Mistake{
            "WorkloadWithoutAPlace",
            "name: a\nworkload: {cpu1: user}\ntimeline: [{cpu: 1, at: ^workload, do: hold}]\n" + std::string(kExpect),
            {"'user'", "no 'workload'"}},
        Mistake{"TierWithBlanks", top("tier: ^\"a b\""), {"'tier'", "'a b'"}},
        Mistake{"TierAll", top("tier: ^all"), {"'tier'", "'all'"}},
        Mistake{"WorkloadCpu", top("workload: {^cpu2: idle}"), {"'cpu2'", "2 CPU(s)"}},
        Mistake{"WorkloadOnce", top("workload: {cpu0: ^reboot}"), {"'reboot'", "once", "do: start"}},
        Mistake{"WorkloadKey", top("workload: {^all: idle}"), {"'all'", "cpu0"}},
        Mistake{"UnfixUnknown", top("unfix: [^panic-gaet]"), {"'panic-gaet'", "'panic-gate'"}},
        Mistake{"UnfixTwice", top("unfix: [panic-gate, ^panic-gate]"), {"twice"}},
        Mistake{"UnfixNoList", top("unfix: ^panic-gate"), {"'unfix'", "a list such as [panic-gate]"}}),
    title);

INSTANTIATE_TEST_SUITE_P(
    StopIpi, MistakeTest,
    ::testing::Values(
        Mistake{"Unknown", top("stop_ipi: {deliver: ^dropp}"), {"'dropp'", "'drop'"}},
        Mistake{"NoDeliver", top("stop_ipi: ^{kind: nmi}"), {"'deliver'"}},
        Mistake{"NoCount", top("stop_ipi: {kind: nmi, count: ^0, deliver: drop}"), {"'count'", "from 1"}},
        Mistake{"CountWithoutKind", top("stop_ipi: {^count: 1, deliver: drop}"), {"'count'", "'kind'"}},
        Mistake{"AfterNoStep", top("stop_ipi: {after_step: ^2, deliver: drop}"), {"no step 2", "has 1"}},
        Mistake{"AfterStepZero", top("stop_ipi: {after_step: ^0, deliver: drop}"), {"'after_step'", "from 1"}},
        Mistake{"NeverDecidesLater",
                top("stop_ipi: [{kind: nmi, deliver: drop}, ^{kind: nmi, after_step: 1, count: 1, deliver: irq}]"),
                {"never decides"}},
        Mistake{"Kind", top("stop_ipi: {kind: ^nmy, deliver: drop}"), {"'kind'", "'nmy'", "'nmi'"}},
        Mistake{"Vector", top("stop_ipi: {kind: ^0x1f8, deliver: drop}"), {"'0x1f8'"}},
        Mistake{"From", top("stop_ipi: {from: ^2, deliver: drop}"), {"'from'", "no CPU 2"}},
        Mistake{"To", top("stop_ipi: [{to: ^9, deliver: drop}]"), {"'to'", "no CPU 9"}},
        Mistake{"Delay", top("stop_ipi: {deliver: {delay: ^2}}"), {"'delay'", "'2'"}},
        Mistake{"DelayKey", top("stop_ipi: {deliver: {delay: 1s, ^by: 2s}}"), {"'by'"}},
        Mistake{"NeverDecides", top("stop_ipi: [{deliver: drop}, ^{kind: nmi, deliver: irq}]"), {"never decides"}}),
    title);

INSTANTIATE_TEST_SUITE_P(
    Requires, MistakeTest,
    ::testing::Values(
        Mistake{"Kernel", top("requires: {kernel: ^6.1}"), {"'kernel'", "'6.1'", ">=5.10"}},
        Mistake{"KernelVersion", top("requires: {kernel: ^\">=6.x\"}"), {"'>=6.x'"}},
        Mistake{"SecondLowerBound", top("requires: {kernel: [\">=6.1\", ^\">=6.2\"]}"), {"second lower bound"}},
        Mistake{"NoVersion", top("requires: {kernel: ^[\">=6.10\", \"<6.9\"]}"), {"no version"}},
        Mistake{"Engine", top("requires: {engine: [^snapshots]}"), {"'snapshots'", "'snapshot'"}},
        Mistake{"Symbol", top("requires: {symbols: [^vpanic+3]}"), {"'vpanic+3'"}}),
    title);

INSTANTIATE_TEST_SUITE_P(
    Steps, MistakeTest,
    ::testing::Values(
        Mistake{"Empty", "name: a\ntimeline: ^[]\nexpect: {outcome: dumped}\n", {"no steps"}},
        Mistake{"Nothing", "name: a\n^timeline:\nexpect: {outcome: dumped}\n", {"'timeline'", "empty"}},
        Mistake{"NotAStep", steps("  - ^panic"), {"step 1", "a single value"}},
        Mistake{"NoCpu", steps("  - ^{do: panic}"), {"step 1", "'cpu'"}},
        Mistake{"NoAction", steps("  - ^{cpu: 0}"), {"step 1", "'do'"}},
        Mistake{"CpuOutOfRange", step("cpu: ^2, do: panic"), {"no CPU 2", "has 2"}},
        Mistake{"UnknownAction", step("cpu: 0, do: ^panik"), {"'panik'", "not known", "'panic'"}},
        Mistake{"ActionReset", step("cpu: 0, do: ^reset"), {"'reset'", "not known"}},
        Mistake{"ActionBegin", step("cpu: 0, do: ^begin"), {"'begin'", "not known"}},
        Mistake{"Point", step("cpu: 0, at: ^\"panic/gat\", do: hold"), {"'panic/gat'", "'panic/gate'"}},
        Mistake{"PointSpelling", step("cpu: 0, at: ^panic+x, do: hold"), {"'+x'"}},
        Mistake{"Ipi", step("cpu: 0, at: ^\"ipi:stpo\", do: hold"), {"'ipi:stpo'", "'ipi:stop'"}},
        Mistake{"IpiVector", step("cpu: 0, at: ^\"ipi:0x3\", do: hold"), {"'ipi:0x3'"}},
        Mistake{"HitZero", step("cpu: 0, at: panic, hit: ^0, do: hold"), {"'hit'", "from 1"}},
        Mistake{"HitWithoutAt", step("cpu: 0, ^hit: 2, do: hold"), {"'hit'", "'at'"}},
        Mistake{"AfterAndAt", step("cpu: 0, at: panic, ^after: 2ms, do: hold"), {"'at'", "'after'"}},
        Mistake{"AfterNothing", step("cpu: 0, after: ^0ms, do: hold"), {"'after'", "more than nothing"}},
        Mistake{"AfterThree", step("cpu: 0, after: ^[1ms, 2ms, 3ms], do: hold"), {"'after'", "[1ms, 50ms]"}},
        Mistake{"AfterBackwards", step("cpu: 0, after: ^[2ms, 1ms], do: hold"), {"'after'", "2ms is more than 1ms"}},
        Mistake{"AfterAlone", step("cpu: 0, after: 2ms, ^alone: true, do: hold"), {"'alone'", "'at'"}},
        Mistake{"AloneWithoutAt", step("cpu: 0, ^alone: true, do: hold"), {"'alone'", "'at'"}},
        Mistake{"AloneType", step("cpu: 0, at: panic, alone: ^yes, do: hold"), {"'alone'", "'yes'"}},
        Mistake{"MessageOnHold", step("cpu: 0, at: panic, do: hold, ^message: x"), {"'hold'", "'message'", "panic"}},
        Mistake{"ForOnNmi", step("cpu: 0, do: nmi, ^for: 2s"), {"'nmi'", "'for'", "irqs-off"}},
        Mistake{"MessageFormat", step("cpu: 0, do: panic, message: ^50%"), {"'%'"}},
        Mistake{"MessageEmpty", step("cpu: 0, do: panic, message: ^\"\""), {"'message'"}},
        Mistake{"ForAndUntil", step("cpu: 0, do: irqs-off, for: 2s, ^until: nmi"), {"'for' or 'until'"}},
        Mistake{"SpinForAndUntil", step("cpu: 0, do: spin, for: 2s, ^until: nmi"), {"'spin'", "'for' or 'until'"}},
        Mistake{"MceBank", step("cpu: 0, do: mce, bank: ^32"), {"'bank'", "from 0 to 31"}},
        Mistake{"MceStatus", step("cpu: 0, do: mce, status: ^fatal"), {"'status'", "'fatal'"}},
        Mistake{"MceWithoutAnError", step("cpu: 0, do: mce, status: ^0x2000000000000000"), {"'status'", "bit 63"}},
        Mistake{"StatusOfAnotherAction", step("cpu: 0, do: nmi, ^status: -1"), {"'nmi'", "'status'", "mce"}},
        Mistake{"ForType", step("cpu: 0, do: irqs-off, for: ^ever"), {"'for'", "'ever'"}},
        Mistake{"StartNothing", steps("  - ^{cpu: 0, do: start}"), {"'workload'"}},
        Mistake{"StartFromBoot",
                fmt::format("{}{}from: boot\ntimeline: [{{cpu: 0, do: ^start, workload: reboot}}]\n", kHead, kExpect),
                {"'start'", "'from: boot'"}},
        Mistake{"FromElsewhere", top("from: ^bios"), {"'from'", "'bios'", "boot"}},
        Mistake{"StartUnknown", step("cpu: 0, do: start, workload: ^rebot"), {"'rebot'", "'reboot'"}},
        Mistake{"WorkloadOfAnotherAction", step("cpu: 0, do: note, ^workload: kmsg"), {"'note'", "start"}},
        Mistake{"WhereCpu", expecting("{outcome: hung, where: {^cpu2: up}}"), {"'cpu2'", "2 CPU(s)"}},
        Mistake{"WhereNoFunction", expecting("{outcome: hung, where: {cpu1: ^up+0x3}}"), {"cpu1", "'up+0x3'"}},
        Mistake{"WhereInNone", expecting("{outcome: hung, where: {cpu1: ^[]}}"), {"'cpu1'", "empty list"}},
        Mistake{"WhereInOneOf", expecting("{outcome: hung, where: {cpu1: [up, ^up+0x3]}}"), {"cpu1", "'up+0x3'"}},
        Mistake{"WhereOfADump", expecting("{outcome: dumped, ^where: {cpu1: up}}"), {"'dumped'"}},
        Mistake{"MessageState", expecting("{outcome: hung, panic_message: {console: ^hole}}"), {"'hole'", "'whole'"}},
        Mistake{
            "MessageKey", expecting("{outcome: hung, panic_message: {^dmesg: whole}}"), {"'dmesg'", "panic_message"}},
        Mistake{"MessageInNoDump", expecting("{outcome: hung, panic_message: {^log: whole}}"), {"'hung'", "no dump"}},
        Mistake{"BecauseOfNothing", expecting("{outcome: reset, because: ^\"\"}"), {"'because'"}},
        Mistake{"UntilWorkload", step("cpu: 0, do: irqs-off, until: ^workload"), {"'until'", "'workload'"}},
        Mistake{"Count", step("cpu: 0, do: step, count: ^0"), {"'count'", "from 1"}},
        Mistake{"SetNothing", step("cpu: 0, ^do: set"), {"sets nothing"}},
        Mistake{"SetRegister", step("cpu: 0, do: set, registers: {^eax: 1}"), {"'eax'", "'rax'"}},
        Mistake{"AddToNoRegister", step("cpu: 0, do: set, add: {^zf: 1}"), {"'zf'", "rax"}},
        Mistake{"AddOnNote", step("cpu: 0, do: note, ^add: {rax: 1}"), {"'note'", "'add'", "set"}},
        Mistake{"SetValue", step("cpu: 0, do: set, registers: {rax: ^0x1ffffffffffffffff}"), {"'rax'", "64 bits"}},
        Mistake{"SetFlag", step("cpu: 0, do: set, flags: {^tf: 1}"), {"'tf'"}},
        Mistake{"SetFlagValue", step("cpu: 0, do: set, flags: {zf: ^2}"), {"'zf'", "from 0 to 1"}},
        Mistake{"SetAddress", step("cpu: 0, do: set, memory: [{address: ^12, value: 1, size: 4}]"), {"'12'"}},
        Mistake{"SetSize", step("cpu: 0, do: set, memory: [{address: x, value: 1, size: ^3}]"), {"'size'", "3"}},
        Mistake{"SetNoSize", step("cpu: 0, do: set, memory: [^{address: x, value: 1}]"), {"'size'"}},
        Mistake{"SetDoesNotFit", step("cpu: 0, do: set, memory: [{address: x, value: ^256, size: 1}]"), {"'256'"}},
        Mistake{"RegistersOnHold", step("cpu: 0, at: x, do: hold, ^registers: {rax: 1}"), {"'registers'", "set"}}),
    title);

INSTANTIATE_TEST_SUITE_P(
    Order, MistakeTest,
    ::testing::Values(
        Mistake{"ReleaseWithoutHold", step("cpu: 0, do: ^release"), {"'release'", "CPU 0"}},
        Mistake{"ReleaseOfAnother", steps("  - {cpu: 0, do: hold}\n  - {cpu: 1, do: ^release}"), {"CPU 1"}},
        Mistake{"ReleaseTwice",
                steps("  - {cpu: 0, do: hold}\n  - {cpu: 0, do: release}\n  - {cpu: 0, do: ^release}"),
                {"CPU 0"}},
        Mistake{"ReleaseAt", steps("  - {cpu: 0, do: hold}\n  - {cpu: 0, ^at: panic, do: release}"), {"'at'"}},
        Mistake{"ReleaseHit", steps("  - {cpu: 0, do: hold}\n  - {cpu: 0, ^hit: 2, do: release}"), {"'hit'"}},
        Mistake{"ReleaseAlone",
                steps("  - {cpu: 0, do: hold}\n  - {cpu: 0, ^alone: true, do: release}"),
                {"'alone'", "'release'"}},
        Mistake{"HoldTwice", steps("  - {cpu: 0, do: hold}\n  - {cpu: 0, do: ^hold}"), {"held already", "step 1"}},
        Mistake{"HeldCpuComesNowhere",
                steps("  - {cpu: 0, do: hold}\n  - {cpu: 0, at: ^panic, do: note}"),
                {"CPU 0", "step 1", "'panic'"}},
        Mistake{
            "HeldCpuTakesNoNmi", steps("  - {cpu: 0, do: hold}\n  - {cpu: 0, at: ^nmi, do: note}"), {"CPU 0", "'nmi'"}},
        Mistake{"HeldCpuAlone",
                steps("  - {cpu: 0, do: hold}\n  - {cpu: 0, at: ^panic, alone: true, do: note}"),
                {"CPU 0", "executes nothing"}},
        Mistake{"WorkloadAfterPanic",
                steps("  - {cpu: 0, do: panic}\n  - {cpu: 0, at: ^workload, do: note}"),
                {"CPU 0", "workload", "step 1"}},
        Mistake{"WorkloadAfterEndlessIrqsOff",
                steps("  - {cpu: 0, do: irqs-off}\n  - {cpu: 0, at: ^workload, do: panic}"),
                {"CPU 0", "workload"}},
        Mistake{"AllHeldAtTheEnd", steps("  - {cpu: 0, do: hold}\n  - {cpu: 1, do: ^hold}"), {"every CPU is held"}}),
    title);

INSTANTIATE_TEST_SUITE_P(
    Expectations, MistakeTest,
    ::testing::Values(
        Mistake{"NoOutcome", expecting("^{dump: {panic_cpu: 0}}"), {"'outcome'"}},
        Mistake{"UnknownOutcome", expecting("{outcome: ^dumpd}"), {"'dumpd'", "'dumped'"}},
        Mistake{"PanicCpu", expecting("{outcome: dumped, dump: {panic_cpu: ^2}}"), {"'panic_cpu'", "no CPU 2"}},
        Mistake{"TooManyRegisters",
                expecting("{outcome: dumped, dump: {cpus_with_registers: ^3}}"),
                {"'cpus_with_registers'", "3"}},
        Mistake{
            "TooFewForDumped", expecting("{outcome: dumped, dump: {cpus_with_registers: ^1}}"), {"'dump_incomplete'"}},
        Mistake{"MissingOutOfRange",
                expecting("{outcome: dump_incomplete, dump: {missing_cpus: [^5]}}"),
                {"'missing_cpus'", "no CPU 5"}},
        Mistake{"MissingTwice", expecting("{outcome: dump_incomplete, dump: {missing_cpus: [1, ^1]}}"), {"twice"}},
        Mistake{"Contradiction",
                expecting("{outcome: dump_incomplete, dump: {cpus_with_registers: ^2, missing_cpus: [1]}}"),
                {"'cpus_with_registers' is 2", "names 1"}},
        Mistake{"MissingOfDumped",
                expecting("{outcome: dumped, dump: {missing_cpus: ^[1]}}"),
                {"'dumped'", "'missing_cpus'"}},
        Mistake{"DumpOfReset", expecting("{outcome: reset, ^dump: {panic_cpu: 0}}"), {"'reset'", "no dump"}},
        Mistake{"DumpOfHung", expecting("{outcome: hung, ^dump: {panic_cpu: 0}}"), {"'hung'"}},
        Mistake{"DumpOfCaptureFailed", expecting("{outcome: capture_failed, ^dump: {}}"), {"'capture_failed'"}},
        Mistake{"EmptyLogText", expecting("{outcome: dumped, dump: {log_contains: ^\"\"}}"), {"'log_contains'"}},
        Mistake{"EmptyLogTextInAList",
                expecting("{outcome: dumped, dump: {log_contains: [a, ^\"\"]}}"),
                {"'log_contains'"}},
        Mistake{"NoLogTexts", expecting("{outcome: dumped, dump: {log_contains: ^[]}}"), {"'log_contains'", "empty"}},
        Mistake{"NoPanicWithPanic", expecting("{outcome: ^no_panic}"), {"'no_panic'", "step 1"}}),
    title);

INSTANTIATE_TEST_SUITE_P(Yaml, MistakeTest,
                         ::testing::Values(Mistake{"Anchor", top("summary: ^&a x"), {"anchor", "'a'"}},
                                           Mistake{"Tag", top("summary: ^!!binary x"), {"tag", "binary"}},
                                           Mistake{"NotUtf8", "name: caf^\xe9\n", {"UTF-8", "0xe9"}},
                                           Mistake{"OverlongUtf8", "name: ^\xc0\x80\n", {"UTF-8"}},
                                           Mistake{"CarriageReturn", "name: a^\rb\n", {"0x0d"}},
                                           Mistake{"ControlCharacter", "name: a^\x1b[2J\n", {"0x1b"}}),
                         title);

std::vector<Diagnostic> mistakes(std::string_view text) { return parse(text, "x.yaml").diagnostics; }

TEST(Yaml, SyntaxErrorsHaveAPlace) {
  for (const std::string_view text : {"name: [a\n", "a: b: c\n", "name: }\n", "? [\n", "name: \"\\q\"\n"}) {
    const auto found = mistakes(text);
    ASSERT_FALSE(found.empty()) << text;
    EXPECT_GE(found.front().line, 1) << text;
    EXPECT_GE(found.front().column, 1) << text;
    EXPECT_THAT(found.front().message, HasSubstr("YAML")) << text;
  }
}

TEST(Yaml, ATabIsNamed) {
  const auto found = mistakes("name: a\nmachine:\n\tvcpus: 2\n");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found.front().line, 3);
  EXPECT_THAT(found.front().message, HasSubstr("tab"));
}

TEST(Yaml, AnAliasBombIsRefused) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) bomb += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}]\n", i, i - 1);
  const auto found = mistakes(bomb);
  ASSERT_FALSE(found.empty());
  EXPECT_THAT(render(found), HasSubstr("the anchor 'a29' is not part of"));
  EXPECT_LT(found.size(), 1000u);
}

TEST(Yaml, DeepNestingIsRefusedBeforeItIsRead) {
  for (const char* level : {"[", "{a: ", "- ", "? "}) {
    std::string deep;
    for (int i = 0; i < 10'000; ++i) deep += level;
    const auto found = mistakes(deep);
    ASSERT_THAT(found, SizeIs(1)) << level;
    EXPECT_THAT(found.front().message, HasSubstr("16 levels")) << level;
    EXPECT_LE(found.front().column, 100) << level;
  }
}

TEST(Yaml, ATokenThatBelongsToNoDocument) {
  const std::string text = fmt::format("{}{}{}...\n, stray\n", kHead, kTimeline, kExpect);
  EXPECT_EQ(render(mistakes(text)), "x.yaml:5:1: error: YAML: what begins here belongs to no scenario\n");
  EXPECT_EQ(render(mistakes(", stray\n")), "x.yaml:1:1: error: YAML: what begins here belongs to no scenario\n");
}

TEST(Yaml, TooManyValues) {
  std::string many = "refs: [";
  for (int i = 0; i < 30'000; ++i) many += "a, ";
  const auto found = mistakes(many + "]\n");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_THAT(found.front().message, HasSubstr("20000 values"));
}

TEST(Yaml, NothingInTheFile) {
  for (const std::string_view text : {"", "\n\n", "# a comment alone\n"}) {
    EXPECT_EQ(render(mistakes(text)), "x.yaml: error: no scenario in this file\n") << text;
  }
}

TEST(Yaml, TooLarge) {
  EXPECT_EQ(render(mistakes(std::string(256UL * 1024 + 1, '#'))),
            "x.yaml: error: larger than 256 KiB: not a scenario\n");
}

TEST(Yaml, AByteOrderMarkIsNoMistake) {
  const std::string text = fmt::format("\xef\xbb\xbf{}{}{}", kHead, kTimeline, kExpect);
  EXPECT_EQ(render(mistakes(text)), "");
}

TEST(Yaml, WindowsLineEndsAreNoMistake) {
  EXPECT_EQ(render(mistakes("name: a\r\ntimeline: [{cpu: 0, do: panic}]\r\nexpect: {outcome: dumped}\r\n")), "");
}

TEST(Messages, AreShortAndPrintable) {
  const auto found = mistakes(top("\"\\e[2J" + std::string(900, 'x') + "\": 1"));
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_LT(found.front().message.size(), 200u);
  EXPECT_EQ(found.front().message.find('\x1b'), std::string::npos);
  EXPECT_THAT(found.front().message, HasSubstr("\\x1b[2J"));
}

TEST(Messages, EscapeTheUsersOwnKeysToo) {
  for (const Diagnostic& found : mistakes(top("workload: {\"\\e[2J\": x, \"\\a\": [1]}"))) {
    for (const char c : found.message) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << found.message;
  }
}

// A mistake must not bring forth others that are none.
TEST(Consequences, AMistakenHoldStillHolds) {
  EXPECT_THAT(mistakes(steps("  - {cpu: 0, at: panic+x, do: hold}\n  - {cpu: 0, do: release}")), SizeIs(1));
  EXPECT_THAT(mistakes(steps("  - {cpu: 0, at: panic, do: hodl}\n  - {cpu: 0, do: release}")), SizeIs(1));
  EXPECT_THAT(mistakes(steps("  - {cpu: x, at: panic, do: hold}\n  - {cpu: 0, do: release}")), SizeIs(1));
}

TEST(Order, WhatAHeldCpuCanDo) {
  EXPECT_EQ(render(mistakes(steps("  - {cpu: 0, at: panic, do: hold}\n"
                                  "  - {cpu: 0, do: set, registers: {rax: 0}}\n"
                                  "  - {cpu: 0, do: nmi}\n"
                                  "  - {cpu: 0, do: step, count: 3}\n"
                                  "  - {cpu: 0, do: skip}\n"
                                  "  - {cpu: 0, do: note}\n"
                                  "  - {cpu: 0, do: release}\n"
                                  "  - {cpu: 0, at: panic, hit: 2, do: hold}\n"))),
            "");
}

TEST(Order, TheWorkloadGoesOnAfterAFiniteWindow) {
  EXPECT_EQ(render(mistakes(steps("  - {cpu: 0, do: irqs-off, for: 2s}\n  - {cpu: 0, at: workload, do: panic}\n"))),
            "");
}

}  // namespace
}  // namespace panicroom::harness
