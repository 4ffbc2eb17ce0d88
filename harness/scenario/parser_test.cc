// The whole way from YAML to a typed scenario, and from files to scenarios.
#include "harness/scenario/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "base/testing/temporary_directory.h"

namespace panicroom::harness {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::string_view kExample = R"(name: second-panic-must-not-stop-the-dump
summary: CPU 1 panics while CPU 0, interrupts off, is inside crash_kexec().
refs: [93e13a360ba3]
machine: {vcpus: 2, memory: 512M, crashkernel: 128M}
kernel: {cmdline: ""}
workload: {cpu0: syscalls, cpu1: syscalls}
stop_ipi: {deliver: as-sent}          # as-sent | nmi | irq | drop | {delay: 2s}; may differ per cpu and per kind
timeline:
  - {cpu: 0, at: workload, do: panic, message: first}
  - {cpu: 0, at: "__crash_kexec/lock-taken", do: hold}
  - {cpu: 1, at: workload, do: panic, message: second}
  - {cpu: 1, at: panic_smp_self_stop, do: note}
  - {cpu: 0, do: release}
expect:
  outcome: dumped
  dump: {panic_cpu: 0, cpus_with_registers: 2, missing_cpus: [], log_contains: first}
timeout: 60s
)";

constexpr std::string_view kSmallest = R"(name: a
timeline: [{cpu: 0, do: panic}]
expect: {outcome: dumped}
)";

Scenario only(const ParseResult& result) {
  EXPECT_EQ(render(result.diagnostics), "");
  EXPECT_THAT(result.scenarios, SizeIs(1));
  return result.scenarios.empty() ? Scenario{} : result.scenarios.front();
}

TEST(Parser, TheExampleOfTheManual) {
  const Scenario s = only(parse(kExample, "x.yaml"));
  EXPECT_EQ(s.file, "x.yaml");
  EXPECT_EQ(s.name, "second-panic-must-not-stop-the-dump");
  EXPECT_EQ(s.summary, "CPU 1 panics while CPU 0, interrupts off, is inside crash_kexec().");
  EXPECT_THAT(s.refs, ElementsAre("93e13a360ba3"));
  EXPECT_EQ(s.machine, (MachineSpec{.vcpus = 2, .memory_bytes = 512 << 20, .crashkernel_bytes = 128 << 20, .pin = {}}));
  EXPECT_EQ(s.kernel_cmdline, "");
  EXPECT_THAT(s.workload, ElementsAre("syscalls", "syscalls"));
  EXPECT_THAT(s.stop_ipi, IsEmpty());
  EXPECT_THAT(s.unfix, IsEmpty());
  EXPECT_EQ(s.timeout, seconds(60));

  ASSERT_THAT(s.timeline, SizeIs(5));
  const std::vector<std::string> texts = {"cpu 0: panic at workload", "cpu 0: hold at __crash_kexec/lock-taken",
                                          "cpu 1: panic at workload", "cpu 1: note at panic_smp_self_stop",
                                          "cpu 0: release"};
  const std::vector<std::uint32_t> cpus = {0, 0, 1, 1, 0};
  for (std::size_t i = 0; i < 5; ++i) {
    const Step& step = s.timeline[i];
    EXPECT_EQ(step.number, i + 1);
    EXPECT_EQ(step.line, static_cast<int>(i) + 9);
    EXPECT_EQ(step.text, texts[i]);
    EXPECT_EQ(index(step.cpu), cpus[i]);
    EXPECT_EQ(step.hit, 1u);
    EXPECT_FALSE(step.alone);
  }
  EXPECT_EQ(std::get<DoPanic>(s.timeline[0].action).message, "first");
  EXPECT_TRUE(std::holds_alternative<AtWorkload>(s.timeline[0].at));
  EXPECT_TRUE(std::holds_alternative<DoHold>(s.timeline[1].action));
  EXPECT_EQ(std::get<kernels::NamedPoint>(std::get<AtPoint>(s.timeline[1].at).spec.what).name,
            "__crash_kexec/lock-taken");
  EXPECT_EQ(std::get<DoPanic>(s.timeline[2].action).message, "second");
  EXPECT_TRUE(std::holds_alternative<DoNote>(s.timeline[3].action));
  EXPECT_EQ(std::get<kernels::SymbolPoint>(std::get<AtPoint>(s.timeline[3].at).spec.what).symbol,
            "panic_smp_self_stop");
  EXPECT_TRUE(std::holds_alternative<DoRelease>(s.timeline[4].action));
  EXPECT_TRUE(std::holds_alternative<Here>(s.timeline[4].at));

  EXPECT_EQ(s.expect.front().expectation.outcome, Outcome::kDumped);
  EXPECT_EQ(s.expect.front().expectation.dump.panic_cpu, 0);
  EXPECT_EQ(s.expect.front().expectation.dump.cpus_with_registers, 2u);
  EXPECT_THAT(*s.expect.front().expectation.dump.missing_cpus, IsEmpty());
  EXPECT_THAT(s.expect.front().expectation.dump.log_contains, ElementsAre("first"));
}

TEST(Parser, Defaults) {
  const Scenario s = only(parse(kSmallest, "x.yaml"));
  EXPECT_EQ(s.machine, MachineSpec{});
  EXPECT_EQ(s.tier, "");
  EXPECT_THAT(s.workload, ElementsAre("idle", "idle"));
  EXPECT_EQ(s.timeout, seconds(60));
  EXPECT_EQ(std::get<DoPanic>(s.timeline[0].action).message, "panicroom");
  EXPECT_TRUE(std::holds_alternative<Here>(s.timeline[0].at));
  EXPECT_FALSE(s.expect.front().expectation.dump.panic_cpu.has_value());
  EXPECT_FALSE(s.expect.front().expectation.dump.missing_cpus.has_value());
}

TEST(Parser, StartsAndWhatIsExpectedOfAHang) {
  const Scenario s = only(parse(R"(
name: starts
timeline:
  - {cpu: 1, at: workload, do: start, workload: reboot, hit: 2}
  - {cpu: 0, do: panic}
  - {cpu: 0, do: start, workload: kmsg}
expect:
  outcome: hung
  where: {cpu1: native_stop_other_cpus, cpu0: [down_trylock, up]}
  because: every CPU
  panic_message: {console: garbled}
)",
                                "x.yaml"));
  EXPECT_THAT(starts(s), ElementsAre(StartedWorkload{VcpuId{1}, "reboot"}, StartedWorkload{VcpuId{0}, "kmsg"}));
  EXPECT_EQ(s.timeline[0].text, "cpu 1: start reboot at workload, 2nd pass");
  const std::map<std::uint32_t, std::vector<std::string>> where = {{0, {"down_trylock", "up"}},
                                                                   {1, {"native_stop_other_cpus"}}};
  EXPECT_EQ(s.expect.front().expectation.where, where);
  EXPECT_EQ(s.expect.front().expectation.because, "every CPU");
  EXPECT_EQ(s.expect.front().expectation.panic_message.console, MessageState::kGarbled);
  EXPECT_EQ(s.expect.front().expectation.panic_message.log, std::nullopt);
}

TEST(Parser, AStepCanWaitForATime) {
  const Scenario s = only(parse(R"(
name: waits
timeline:
  - {cpu: 1, after: 20ms, do: hold}
  - {cpu: 0, after: [1ms, 50ms], do: nmi}
  - {cpu: 1, after: 100us, do: release}
expect: {outcome: dumped}
)",
                                "x.yaml"));
  using std::chrono::microseconds;
  EXPECT_EQ(s.timeline[0].after, (Wait{milliseconds(20), milliseconds(20)}));
  EXPECT_EQ(s.timeline[0].text, "cpu 1: hold after 20ms");
  EXPECT_TRUE(std::holds_alternative<Here>(s.timeline[0].at));
  EXPECT_EQ(s.timeline[1].after, (Wait{milliseconds(1), milliseconds(50)}));
  EXPECT_EQ(s.timeline[1].text, "cpu 0: nmi after 1ms to 50ms");
  EXPECT_EQ(s.timeline[2].after, (Wait{microseconds(100), microseconds(100)}));
}

TEST(Parser, EveryKeyThereIs) {
  const Scenario s = only(parse(R"(
name: all.of-it
tier: slow
machine: {vcpus: 3, memory: 1G, crashkernel: 256M, pin: [0, 0, 1], kexec: load}
from: boot
kernel: {cmdline: "panic_on_warn=1 quiet"}
workload: {cpu2: kmsg}
stop_ipi:
  - {kind: nmi, from: 0, to: 1, deliver: drop}
  - {kind: 0x20, count: 3, after_step: 9, deliver: {delay: 2s}}
  - {to: 2, deliver: irq}
unfix: [panic-gate]
requires: {kernel: [">=5.10", "<6.6"], engine: [snapshot, ipi-policy, targeted-nmi, mce, ipi-record], symbols: [vpanic]}
timeline:
  - {cpu: 1, at: workload, do: irqs-off, for: 250ms}
  - {cpu: 2, at: nmi, do: irqs-off, until: "ipi:0xf8"}
  - {cpu: 0, at: "panic/insn:\"lock cmpxchg\"#2", hit: 3, alone: true, do: hold}
  - {cpu: 0, do: step, count: 7}
  - cpu: 0
    do: set
    registers: {rax: -1, r15: 0xfff}
    flags: {zf: 1, if: 0}
    memory: [{address: panic_cpu, value: -1, size: 4}, {address: 0xffffffff81000000, value: 0xab, size: 1}]
  - {cpu: 0, do: skip}
  - {cpu: 0, do: oops}
  - {cpu: 1, at: "ipi:stop", do: nmi}
  - {cpu: 0, do: release}
  - {cpu: 2, at: workload, do: spin, until: nmi}
  - {cpu: 2, do: mce, bank: 3, status: 0xb200000000000000}
  - {cpu: 2, do: mce}
  - {cpu: 2, do: set, add: {rsp: -0x4000}}
expect: {outcome: dump_incomplete, dump: {missing_cpus: [2, 1], cpus_with_registers: 1, log_contains: [a, b]}}
timeout: 2m
)",
                                "x.yaml"));
  EXPECT_EQ(s.machine, (MachineSpec{.vcpus = 3,
                                    .memory_bytes = 1ull << 30,
                                    .crashkernel_bytes = 256 << 20,
                                    .pin = {0, 0, 1},
                                    .kexec = agent::KexecCall::kLoad}));
  EXPECT_EQ(s.tier, "slow");
  EXPECT_EQ(s.kernel_cmdline, "panic_on_warn=1 quiet");
  EXPECT_EQ(s.from, From::kBoot);
  EXPECT_THAT(s.workload, ElementsAre("idle", "idle", "kmsg"));
  EXPECT_THAT(s.unfix, ElementsAre(Unfix::kPanicGate));
  EXPECT_EQ(s.requires_.kernel.at_least, "5.10");
  EXPECT_EQ(s.requires_.kernel.below, "6.6");
  EXPECT_THAT(s.requires_.capabilities,
              ElementsAre(hypervisor::Capability::kSnapshot, hypervisor::Capability::kIpiPolicy,
                          hypervisor::Capability::kTargetedNmi, hypervisor::Capability::kMce,
                          hypervisor::Capability::kIpiRecord));
  EXPECT_THAT(s.requires_.symbols, ElementsAre("vpanic"));
  EXPECT_EQ(s.timeout, seconds(120));

  // A rule without a kind stands for both ways to stop a CPU.
  ASSERT_THAT(s.stop_ipi, SizeIs(4));
  EXPECT_EQ(s.stop_ipi[0].rule.mode, hypervisor::DeliveryMode::kNmi);
  EXPECT_EQ(s.stop_ipi[0].rule.vector, std::nullopt);
  EXPECT_EQ(s.stop_ipi[0].rule.source, VcpuId{0});
  EXPECT_EQ(s.stop_ipi[0].rule.target, VcpuId{1});
  EXPECT_TRUE(std::holds_alternative<hypervisor::Drop>(s.stop_ipi[0].rule.delivery));
  EXPECT_EQ(s.stop_ipi[0].rule.count, std::nullopt);
  EXPECT_EQ(s.stop_ipi[0].after_step, 0u);
  EXPECT_EQ(s.stop_ipi[1].rule.vector, 0x20);
  EXPECT_EQ(s.stop_ipi[1].rule.count, 3u);
  EXPECT_EQ(s.stop_ipi[1].after_step, 9u);
  EXPECT_EQ(std::get<hypervisor::Delay>(s.stop_ipi[1].rule.delivery).by, seconds(2));
  EXPECT_EQ(s.stop_ipi[2].rule.vector, hypervisor::kRebootVector);
  EXPECT_EQ(s.stop_ipi[2].rule.mode, std::nullopt);
  EXPECT_EQ(s.stop_ipi[2].rule.target, VcpuId{2});
  EXPECT_EQ(s.stop_ipi[3].rule.mode, hypervisor::DeliveryMode::kNmi);
  EXPECT_TRUE(std::holds_alternative<hypervisor::DeliverAsIrq>(s.stop_ipi[3].rule.delivery));

  ASSERT_THAT(s.timeline, SizeIs(13));
  EXPECT_EQ(std::get<DoSpin>(s.timeline[0].action).for_time, milliseconds(250));
  EXPECT_TRUE(std::get<DoSpin>(s.timeline[0].action).irqs_off);
  EXPECT_EQ(s.timeline[0].text, "cpu 1: irqs-off for 250ms at workload");
  const auto& window = std::get<DoSpin>(s.timeline[1].action);
  EXPECT_EQ(std::get<AtIpi>(*window.until).kind, AtIpi::Kind::kVector);
  EXPECT_EQ(std::get<AtIpi>(*window.until).vector, 0xf8);
  EXPECT_TRUE(std::holds_alternative<AtNmi>(s.timeline[1].at));
  const auto& point = std::get<kernels::InstructionPoint>(std::get<AtPoint>(s.timeline[2].at).spec.what);
  EXPECT_EQ(point.text, "lock cmpxchg");
  EXPECT_EQ(point.ordinal, 2u);
  EXPECT_EQ(s.timeline[2].hit, 3u);
  EXPECT_TRUE(s.timeline[2].alone);
  EXPECT_EQ(s.timeline[2].text, "cpu 0: hold at panic/insn:\"lock cmpxchg\"#2, 3rd pass, alone");
  EXPECT_EQ(std::get<DoStep>(s.timeline[3].action).count, 7u);
  EXPECT_EQ(s.timeline[3].text, "cpu 0: step 7 instructions");
  const auto& set = std::get<DoSet>(s.timeline[4].action).values;
  ASSERT_THAT(set, SizeIs(6));
  EXPECT_EQ(std::get<SetRegister>(set[0]).gpr, hypervisor::Gpr::kRax);
  EXPECT_EQ(std::get<SetRegister>(set[0]).value, ~0ull);
  EXPECT_EQ(std::get<SetRegister>(set[1]).gpr, hypervisor::Gpr::kR15);
  EXPECT_EQ(std::get<SetRegister>(set[1]).value, 0xfffu);
  EXPECT_EQ(std::get<SetFlag>(set[2]).mask, hypervisor::kRflagsZf);
  EXPECT_TRUE(std::get<SetFlag>(set[2]).value);
  EXPECT_EQ(std::get<SetFlag>(set[3]).mask, hypervisor::kRflagsIf);
  EXPECT_FALSE(std::get<SetFlag>(set[3]).value);
  EXPECT_EQ(std::get<std::string>(std::get<SetMemory>(set[4]).address), "panic_cpu");
  EXPECT_EQ(std::get<SetMemory>(set[4]).value, 0xffffffffu);
  EXPECT_EQ(std::get<std::uint64_t>(std::get<SetMemory>(set[5]).address), 0xffffffff81000000u);
  EXPECT_EQ(s.timeline[4].text, "cpu 0: set rax, r15, zf, if, panic_cpu, 0xffffffff81000000");
  EXPECT_TRUE(std::holds_alternative<DoSkip>(s.timeline[5].action));
  EXPECT_TRUE(std::holds_alternative<DoOops>(s.timeline[6].action));
  EXPECT_TRUE(std::holds_alternative<DoNmi>(s.timeline[7].action));
  const auto& spin = std::get<DoSpin>(s.timeline[9].action);
  EXPECT_FALSE(spin.irqs_off);
  EXPECT_TRUE(std::holds_alternative<AtNmi>(*spin.until));
  EXPECT_EQ(s.timeline[9].text, "cpu 2: spin until nmi at workload");
  EXPECT_EQ(std::get<DoMce>(s.timeline[10].action).error,
            (hypervisor::MachineCheck{.bank = 3, .status = 0xb2ull << 56}));
  EXPECT_EQ(s.timeline[10].text, "cpu 2: mce 0xb200000000000000 in bank 3");
  EXPECT_EQ(std::get<DoMce>(s.timeline[11].action).error, hypervisor::MachineCheck{});
  const auto& sum = std::get<AddToRegister>(std::get<DoSet>(s.timeline[12].action).values.at(0));
  EXPECT_EQ(sum.gpr, hypervisor::Gpr::kRsp);
  EXPECT_EQ(sum.value, 0 - std::uint64_t{0x4000});
  EXPECT_EQ(s.timeline[12].text, "cpu 2: set rsp+");
  EXPECT_THAT(*s.expect.front().expectation.dump.missing_cpus, ElementsAre(1, 2));
  EXPECT_THAT(s.expect.front().expectation.dump.log_contains, ElementsAre("a", "b"));
}

TEST(Parser, ADumpIsSavedIfAskedFor) {
  const std::string rest = "name: a\ntimeline: [{cpu: 0, at: workload, do: panic}]\nexpect: {outcome: dumped}\n";
  const auto save = [&](std::string_view dump) {
    const auto result = parse(fmt::format("{}{}", rest, dump), "x.yaml");
    EXPECT_TRUE(result.diagnostics.empty()) << render(result.diagnostics);
    return result.scenarios.at(0).save_dump;
  };
  EXPECT_EQ(save(""), std::nullopt);
  EXPECT_EQ(save("dump: {save: false}"), std::nullopt);
  EXPECT_EQ(save("dump: {save: true}"), SaveDump{.level = 31});
  EXPECT_EQ(save("dump: {save: true, level: 1}"), SaveDump{.level = 1});
}

TEST(Parser, ARuleOfAsSentAtTheEndAsksNothingOfTheEngine) {
  const auto with = [](const std::string& policy) {
    return parse(std::string(kSmallest) + "stop_ipi: " + policy + "\n", "x");
  };
  EXPECT_THAT(only(with("{deliver: as-sent}")).stop_ipi, IsEmpty());
  EXPECT_THAT(only(with("[{to: 0, deliver: as-sent}, {deliver: drop}]")).stop_ipi, SizeIs(4));
  EXPECT_THAT(only(with("{deliver: nmi}")).stop_ipi, SizeIs(2));
}

TEST(Parser, ARuleForATimeLeavesTheRestToTheNext) {
  const Scenario s = only(parse(std::string(kSmallest) +
                                    "stop_ipi:\n  - {kind: nmi, count: 1, deliver: drop}\n"
                                    "  - {kind: nmi, after_step: 1, deliver: irq}\n  - {kind: nmi, deliver: drop}\n",
                                "x.yaml"));
  EXPECT_THAT(s.stop_ipi, SizeIs(3));
}

TEST(Parser, ManyMistakesInOneGo) {
  const ParseResult result = parse(R"(name: many mistakes
sumary: x
machine: {vcpus: two, memory: 12Q, crashkernel: 128M}
timeline:
  - {cpu: 7, at: workload, do: panik}
  - {cpu: 0, at: "panic/nowhere", do: note, hit: 0}
  - {cpu: 1, do: release}
expect:
  outcome: reset
  dump: {panic_cpu: 0}
timeout: 0s
)",
                                   "many.yaml");
  EXPECT_THAT(result.scenarios, IsEmpty());
  std::vector<std::string> places;
  for (const Diagnostic& d : result.diagnostics) places.push_back(fmt::format("{}:{}", d.line, d.column));
  // Step 1 may have held any CPU, so step 3 may be right.
  EXPECT_THAT(places, ElementsAre("1:7", "2:1", "3:18", "3:31", "5:11", "5:32", "6:18", "6:50", "10:3", "11:10"))
      << render(result.diagnostics);
  EXPECT_THAT(render(result.diagnostics), HasSubstr("many.yaml:2:1: error: unknown key 'sumary'"));
}

TEST(Parser, OneScenarioADocument) {
  const std::string two = std::string(kSmallest) + "---\n" + "name: b\n" + std::string(kSmallest.substr(8));
  const ParseResult result = parse(two, "x.yaml");
  EXPECT_EQ(render(result.diagnostics), "");
  ASSERT_THAT(result.scenarios, SizeIs(2));
  EXPECT_EQ(result.scenarios[0].name, "a");
  EXPECT_EQ(result.scenarios[1].name, "b");
  EXPECT_EQ(result.scenarios[1].timeline[0].line, 6);
}

TEST(Parser, AFaultyScenarioDoesNotHideTheOtherOne) {
  const ParseResult result = parse("name: b\n---\n" + std::string(kSmallest), "x.yaml");
  EXPECT_THAT(result.scenarios, SizeIs(1));
  EXPECT_EQ(render(result.diagnostics),
            "x.yaml:1:1: error: the scenario has no 'timeline'\nx.yaml:1:1: error: the scenario has no 'expect'\n");
}

class LoadTest : public ::testing::Test {
 protected:
  fs::path write(const std::string& file, std::string_view text) const {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
    return folder_ / file;
  }
  static std::string named(std::string_view name) { return fmt::format("name: {}\n{}", name, kSmallest.substr(8)); }
  static std::vector<std::string> names(const ParseResult& result) {
    std::vector<std::string> found;
    for (const Scenario& scenario : result.scenarios) found.push_back(scenario.name);
    return found;
  }

  TemporaryDirectory directory_;
  const fs::path& folder_ = directory_.path();
};

TEST_F(LoadTest, AFolderWithAllBelowItSorted) {
  write("b.yaml", named("b"));
  write("a/z.yml", named("z"));
  write("c.yaml", named("c"));
  write("README.md", "not a scenario");
  const ParseResult result = load(std::vector{folder_});
  EXPECT_EQ(render(result.diagnostics), "");
  EXPECT_THAT(names(result), ElementsAre("z", "b", "c"));
  EXPECT_EQ(result.scenarios[0].file, folder_ / "a/z.yml");
}

TEST_F(LoadTest, AFileNamedTwiceCountsOnce) {
  const fs::path file = write("a.yaml", named("a"));
  const ParseResult result = load(std::vector{file, folder_, folder_ / "." / "a.yaml"});
  EXPECT_EQ(render(result.diagnostics), "");
  EXPECT_THAT(names(result), ElementsAre("a"));
}

TEST_F(LoadTest, WhetherAFileWasNamedItself) {
  const fs::path a = write("a.yaml", named("a"));
  const fs::path b = write("b.yaml", named("b"));
  for (const auto& paths : {std::vector{folder_, b}, std::vector{b, folder_}}) {
    const ParseResult result = load(paths);
    ASSERT_THAT(result.scenarios, SizeIs(2));
    for (const Scenario& scenario : result.scenarios) EXPECT_EQ(scenario.file_named, scenario.name == "b");
  }
}

TEST_F(LoadTest, DuplicateNamesAcrossFiles) {
  const fs::path first = write("1.yaml", named("same"));
  const fs::path second = write("2.yaml", named("same"));
  const ParseResult result = load(std::vector{folder_});
  EXPECT_EQ(render(result.diagnostics),
            fmt::format("{}:1:7: error: 'name': there is a scenario 'same' already, in {}:1\n", second.string(),
                        first.string()));
  EXPECT_THAT(names(result), ElementsAre("same"));
}

TEST_F(LoadTest, MistakesOfAllFilesInOneGo) {
  const fs::path a = write("a.yaml", "name: [");
  const fs::path b = write("b.yaml", named("b") + "oops: 1\n");
  const fs::path gone = folder_ / "gone.yaml";
  const ParseResult result = load(std::vector{folder_, gone});
  ASSERT_THAT(result.diagnostics, SizeIs(3));
  EXPECT_EQ(result.diagnostics[0].file, a.string());
  EXPECT_EQ(result.diagnostics[1].file, b.string());
  EXPECT_EQ(result.diagnostics[2],
            (Diagnostic{.file = gone.string(), .line = 0, .column = 0, .message = "no such file or folder"}));
}

TEST_F(LoadTest, AFolderWithoutScenarios) {
  EXPECT_EQ(render(load(std::vector{folder_}).diagnostics),
            folder_.string() + ": error: no scenario (*.yaml or *.yml) below this folder\n");
}

TEST_F(LoadTest, WhatIsNoFile) {
  EXPECT_EQ(render(load(std::vector<fs::path>{"/dev/zero"}).diagnostics),
            "/dev/zero: error: neither a file nor a folder\n");
}

TEST_F(LoadTest, AHugeFileIsNotRead) {
  const fs::path file = write("a.yaml", "");
  fs::resize_file(file, 1ull << 40);  // Sparse.
  EXPECT_EQ(render(load(std::vector{file}).diagnostics),
            file.string() + ": error: larger than 256 KiB: not a scenario\n");
}

// The catalogue is part of what is released: a grammar that refuses it is wrong, and so is a catalogue that has
// mistakes.
TEST(Catalogue, Parses) {
  const ParseResult result = load(std::vector<fs::path>{PANICROOM_SCENARIOS});
  EXPECT_EQ(render(result.diagnostics), "");
  EXPECT_GE(result.scenarios.size(), 7u);
  for (const Scenario& scenario : result.scenarios) {
    // With what a matrix adds behind it; a file of several holds a scenario and those that it is compared with.
    EXPECT_TRUE(scenario.name.starts_with(scenario.file.stem().native()))
        << scenario.name << ": a scenario's file has its name";
    EXPECT_FALSE(scenario.summary.empty()) << scenario.name;
    EXPECT_FALSE(scenario.refs.empty()) << scenario.name;
  }
}

}  // namespace
}  // namespace panicroom::harness
