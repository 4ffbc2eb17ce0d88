#include "harness/observer/dump_judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "agent/protocol/sample_plan.h"
#include "harness/observer/register_check.h"

namespace panicroom::harness {
namespace {

using agent::v1::Message;
using testing::ElementsAre;
using testing::HasSubstr;
using vmcore::SampleKind;

constexpr VcpuId kCpu0{0};
constexpr VcpuId kCpu1{1};

// Registers that are all different, and different for each seed.
PrstatusRegisters registers(std::uint64_t seed) {
  PrstatusRegisters result{};
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = 0xffff'8000'0000'0000 + seed * 0x10000 + i * 8;
  return result;
}

// The vCPU's own view of them.
hypervisor::Registers own(const PrstatusRegisters& note) {
  using enum vmcore::Register;
  const auto get = [&](vmcore::Register name) { return note[static_cast<std::size_t>(name)]; };
  hypervisor::Registers result;
  result.r15 = get(kR15);
  result.r14 = get(kR14);
  result.r13 = get(kR13);
  result.r12 = get(kR12);
  result.rbp = get(kRbp);
  result.rbx = get(kRbx);
  result.r11 = get(kR11);
  result.r10 = get(kR10);
  result.r9 = get(kR9);
  result.r8 = get(kR8);
  result.rax = get(kRax);
  result.rcx = get(kRcx);
  result.rdx = get(kRdx);
  result.rsi = get(kRsi);
  result.rdi = get(kRdi);
  result.rip = get(kRip);
  result.cs = get(kCs);
  result.rflags = get(kRflags);
  result.rsp = get(kRsp);
  result.ss = get(kSs);
  return result;
}

using SetRegister = void (agent::v1::Registers::*)(std::uint64_t);
constexpr std::array<SetRegister, vmcore::kRegisterCount> kSetters = {
    &agent::v1::Registers::set_r15,      &agent::v1::Registers::set_r14,     &agent::v1::Registers::set_r13,
    &agent::v1::Registers::set_r12,      &agent::v1::Registers::set_rbp,     &agent::v1::Registers::set_rbx,
    &agent::v1::Registers::set_r11,      &agent::v1::Registers::set_r10,     &agent::v1::Registers::set_r9,
    &agent::v1::Registers::set_r8,       &agent::v1::Registers::set_rax,     &agent::v1::Registers::set_rcx,
    &agent::v1::Registers::set_rdx,      &agent::v1::Registers::set_rsi,     &agent::v1::Registers::set_rdi,
    &agent::v1::Registers::set_orig_rax, &agent::v1::Registers::set_rip,     &agent::v1::Registers::set_cs,
    &agent::v1::Registers::set_rflags,   &agent::v1::Registers::set_rsp,     &agent::v1::Registers::set_ss,
    &agent::v1::Registers::set_fs_base,  &agent::v1::Registers::set_gs_base, &agent::v1::Registers::set_ds,
    &agent::v1::Registers::set_es,       &agent::v1::Registers::set_fs,      &agent::v1::Registers::set_gs};

Message prstatus(const PrstatusRegisters& values) {
  Message message;
  auto& note = *message.mutable_prstatus()->mutable_registers();
  for (std::size_t i = 0; i < values.size(); ++i) (note.*kSetters[i])(values[i]);
  return message;
}

Message check(const std::string& name, bool ok) {
  Message message;
  message.mutable_check()->set_name(name);
  message.mutable_check()->set_ok(ok);
  message.mutable_check()->set_expected("good");
  message.mutable_check()->set_actual(ok ? "good" : "bad");
  return message;
}

Message text_of(std::string text, bool log) {
  Message message;
  if (log) {
    message.mutable_dead_log()->set_text(std::move(text));
  } else {
    message.mutable_vmcoreinfo()->set_text(std::move(text));
  }
  return message;
}

Message load(std::uint64_t begin, std::uint64_t end) {
  Message message;
  message.mutable_load()->set_physical_address(begin);
  message.mutable_load()->set_bytes(end - begin);
  return message;
}

vmcore::Sample sample(SampleKind kind, std::uint64_t address, std::uint32_t seed) {
  std::vector<std::uint32_t> blocks(vmcore::kPageBytes / vmcore::kBlockBytes);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = seed * 1000 + static_cast<std::uint32_t>(i);
  return {kind, address, vmcore::kPageBytes, std::move(blocks), {}};
}

const std::vector<vmcore::Sample> kSamples = {sample(SampleKind::kKernel, 0xffffffff81000000, 1),
                                              sample(SampleKind::kKernel, 0xffffffff82000000, 2),
                                              sample(SampleKind::kLogBuffer, 0xffffffff83000000, 3),
                                              sample(SampleKind::kStack, 0xffffc90000004000, 4),
                                              sample(SampleKind::kPageTable, 0x2000000, 5),
                                              sample(SampleKind::kPhysical, 0x3000000, 6),
                                              sample(SampleKind::kWorkload, 0x4000000, 7)};

// Two CPUs: 0 panicked and jumped, 1 was stopped.
CrashTruth truth() {
  CrashTruth known;
  known.owner = kCpu0;
  known.vcpus = 2;
  known.kernel_release = "6.1.0-test";
  known.slide = {0x1000000};
  known.phys_base = -4096;
  known.message = PanicMessage{"first", true};
  CpuTruth& owner = known.cpus[kCpu0];
  owner.saved = registers(1);
  owner.stopped_at = own(registers(1));
  owner.stopped_at->rax = 0;  // As the code that takes them down has left it.
  owner.stopped_at->rip += 2;
  owner.by_own_code = {{registers(1)[16] - 64}, {registers(1)[16] + 64}};
  CpuTruth& other = known.cpus[kCpu1];
  other.saved = registers(2);
  other.stopped_at = own(registers(2));
  other.stopped_by = "the crash NMI, sent by CPU 0";
  other.earlier = {{"armed", own(registers(3))}};
  known.ram = {{{0x100000}, {0x8000000}}, {{0x10000000}, {0x1ffe0000}}};
  for (const auto& one : kSamples) known.samples.push_back({one, one.address == 0xffffffff81000000, true});
  return known;
}

// What an agent says of a dump that is true.
struct Stream {
  std::vector<Message> notes = {prstatus(registers(1)), prstatus(registers(2))};
  std::string vmcoreinfo = "OSRELEASE=6.1.0-test\nPAGESIZE=4096\nNUMBER(phys_base)=-4096\nKERNELOFFSET=1000000\n";
  std::string log = "[    1.0] Kernel panic - not syncing: first\n[    1.0] CPU: 0 PID: 77 Comm: x\n";
  std::vector<Message> checks = {check("elf-header", true)};
  std::vector<Message> loads = {load(0x1000000, 0x4000000), load(0x100000, 0x8000000), load(0x10000000, 0x1ffe0000)};
  std::vector<vmcore::Sample> samples = kSamples;

  [[nodiscard]] std::vector<Message> messages() const {
    std::vector<Message> all;
    all.emplace_back().mutable_vmcore_opened()->set_size(4096);
    for (const auto* list : {&checks, &loads, &notes}) all.insert(all.end(), list->begin(), list->end());
    // In parts, as the agent sends long texts.
    const std::size_t half = vmcoreinfo.size() / 2;
    all.push_back(text_of(vmcoreinfo.substr(0, half), false));
    all.push_back(text_of(vmcoreinfo.substr(half), false));
    all.push_back(text_of(log, true));
    for (const auto& one : samples) *all.emplace_back().mutable_samples()->add_samples() = agent::to_message(one);
    all.push_back(totals(all));
    return all;
  }

  // What an agent that saw these messages says at its end.
  static Message totals(const std::vector<Message>& messages) {
    Message end;
    auto& judged = *end.mutable_judged();
    for (const auto& message : messages) {
      if (message.has_check() && message.check().ok()) judged.set_checks_passed(judged.checks_passed() + 1);
      if (message.has_check() && !message.check().ok()) judged.set_checks_failed(judged.checks_failed() + 1);
      if (message.has_load()) judged.set_loads(judged.loads() + 1);
      judged.set_samples(judged.samples() + static_cast<std::uint32_t>(message.samples().samples_size()));
      if (message.has_prstatus() && has_registers(message.prstatus())) {
        judged.set_cpus_with_registers(judged.cpus_with_registers() + 1);
      }
    }
    return end;
  }
};

DumpJudge::Finding judged(const Stream& stream, const CrashTruth& known = truth(),
                          const DumpExpectation& expectation = {}) {
  DumpJudge judge;
  for (const auto& message : stream.messages()) {
    EXPECT_FALSE(judge.finished());
    judge.take(message);
  }
  EXPECT_TRUE(judge.opened());
  EXPECT_TRUE(judge.finished());
  auto finding = judge.judge(known, expectation);
  EXPECT_TRUE(finding) << finding.error().message();
  return finding ? *finding : DumpJudge::Finding{};
}

const v1::DumpCheck& check_named(const DumpJudge::Finding& finding, const std::string& name) {
  static const v1::DumpCheck kNone;
  for (const auto& one : finding.dump.checks()) {
    if (one.name() == name) return one;
  }
  ADD_FAILURE() << "no check \"" << name << "\"";
  return kNone;
}

std::vector<std::string> failed(const DumpJudge::Finding& finding) {
  std::vector<std::string> names;
  for (const auto& one : finding.dump.checks()) {
    if (!one.ok()) names.push_back(one.name());
  }
  return names;
}

TEST(DumpJudge, ATrueDumpIsDumped) {
  const auto finding = judged({}, truth(), {.log_contains = {"first", "Kernel panic"}});
  EXPECT_EQ(finding.outcome, Outcome::kDumped) << finding.detail;
  EXPECT_THAT(failed(finding), ElementsAre());
  EXPECT_EQ(finding.dump.cpus_with_registers(), 2u);
  EXPECT_EQ(finding.dump.panic_cpu(), 0);
  EXPECT_EQ(finding.dump.bytes(), 4096u);
  EXPECT_TRUE(finding.dump.log_matched());
  EXPECT_EQ(finding.dump.missing_cpus_size(), 0);
  for (const auto* name :
       {"elf-header", "OSRELEASE", "KERNELOFFSET", "phys_base", "registers of CPU 0", "registers of CPU 1",
        "panic message", "crashing CPU", "memory: kernel", "memory: log buffer", "memory: stacks",
        "memory: page tables", "memory: pages anywhere", "memory: workload", "memory map"}) {
    EXPECT_TRUE(check_named(finding, name).ok()) << name;
  }
  EXPECT_THAT(check_named(finding, "registers of CPU 1").actual(), HasSubstr("true: rip 0xffff800000020080"));
  EXPECT_THAT(check_named(finding, "registers of CPU 1").expected(), HasSubstr("sent by CPU 0"));
}

// Mutations of the truth between guest and judge: each is caught, and named.
struct Mutation {
  std::string what;
  std::function<void(Stream&)> mutate;
  Outcome outcome;
  std::string check;   // That fails.
  std::string detail;  // That the outcome's detail has.
};

std::vector<Mutation> mutations() {
  std::vector<Mutation> all;
  for (std::size_t cpu = 0; cpu < 2; ++cpu) {
    const std::string name = fmt::format("registers of CPU {}", cpu);
    for (std::size_t number = 0; number < vmcore::kRegisterCount; ++number) {
      for (const std::uint64_t bit : {0ULL, 63ULL}) {
        all.push_back({fmt::format("bit {} of register {} of CPU {}", bit, number, cpu),
                       [=](Stream& stream) {
                         auto values = registers(cpu + 1);
                         values[number] ^= std::uint64_t{1} << bit;
                         stream.notes[cpu] = prstatus(values);
                       },
                       Outcome::kDumpIncomplete, name, fmt::format("CPU {} are not true", cpu)});
      }
    }
    all.push_back({"a note is dropped",
                   [=](Stream& stream) { stream.notes.erase(stream.notes.begin() + static_cast<std::ptrdiff_t>(cpu)); },
                   Outcome::kDumpIncomplete, name, fmt::format("CPU {} has no registers", cpu)});
    all.push_back({"a note without registers", [=](Stream& stream) { stream.notes[cpu] = prstatus({}); },
                   Outcome::kDumpIncomplete, name, fmt::format("CPU {} has no registers", cpu)});
  }
  all.push_back({"CPU 1 as it was when the machine was armed",
                 [](Stream& stream) { stream.notes[1] = prstatus(registers(3)); }, Outcome::kDumpIncomplete,
                 "registers of CPU 1", "CPU 1 are stale: those at \"armed\""});
  all.push_back({"swapped notes", [](Stream& stream) { std::swap(stream.notes[0], stream.notes[1]); },
                 Outcome::kDumpIncomplete, "registers of CPU 0", "CPU 1 are not true"});
  all.push_back({"another panic message",
                 [](Stream& stream) {
                   stream.log = "[    1.0] Kernel panic - not syncing: second\n[    1.0] CPU: 0 PID: 77 Comm: x\n";
                 },
                 Outcome::kDumpInvalid, "panic message", "panic message"});
  all.push_back({"another CPU in the log",
                 [](Stream& stream) {
                   stream.log = "[    1.0] Kernel panic - not syncing: first\n[    1.0] CPU: 1 PID: 77 Comm: x\n";
                 },
                 Outcome::kDumpInvalid, "crashing CPU", "crashing CPU"});
  all.push_back({"no log", [](Stream& stream) { stream.log.clear(); }, Outcome::kDumpInvalid, "panic message", ""});
  for (const std::string key : {"OSRELEASE", "KERNELOFFSET"}) {
    all.push_back({"another " + key,
                   [=](Stream& stream) { stream.vmcoreinfo.insert(stream.vmcoreinfo.find(key) + key.size() + 1, "7"); },
                   Outcome::kDumpInvalid, key, key});
  }
  all.push_back({"another phys_base",
                 [](Stream& stream) { stream.vmcoreinfo.replace(stream.vmcoreinfo.find("-4096"), 5, "-8192"); },
                 Outcome::kDumpInvalid, "phys_base", "phys_base"});
  for (std::size_t number = 0; number < kSamples.size(); ++number) {
    const std::string name = fmt::format("memory: {}", vmcore::name(kSamples[number].kind));
    for (std::size_t block = 0; block < kSamples[number].blocks.size(); ++block) {
      all.push_back({fmt::format("block {} of sample {}", block, number),
                     [=](Stream& stream) { stream.samples[number].blocks[block] ^= 1; }, Outcome::kDumpInvalid, name,
                     name});
    }
    all.push_back({fmt::format("sample {} cannot be read", number),
                   [=](Stream& stream) {
                     stream.samples[number].blocks.clear();
                     stream.samples[number].unreadable = "no PT_LOAD";
                   },
                   Outcome::kDumpInvalid, name, name});
    all.push_back(
        {fmt::format("sample {} is absent", number),
         [=](Stream& stream) { stream.samples.erase(stream.samples.begin() + static_cast<std::ptrdiff_t>(number)); },
         Outcome::kDumpInvalid, name, name});
  }
  for (const std::size_t lost : {1, 2}) {
    all.push_back(
        {fmt::format("PT_LOAD {} is absent", lost),
         [=](Stream& stream) { stream.loads.erase(stream.loads.begin() + static_cast<std::ptrdiff_t>(lost)); },
         Outcome::kDumpInvalid, "memory map", "memory map"});
  }
  all.push_back({"a PT_LOAD ends a page too early",
                 [](Stream& stream) { stream.loads[2] = load(0x10000000, 0x1ffdf000); }, Outcome::kDumpInvalid,
                 "memory map", "memory map"});
  all.push_back({"a failed check of the file",
                 [](Stream& stream) { stream.checks[0] = check("loads-readable", false); }, Outcome::kDumpInvalid,
                 "loads-readable", "loads-readable"});
  return all;
}

TEST(DumpJudge, EveryMutationOfTheTruthIsCaughtAndNamed) {
  const auto all = mutations();
  EXPECT_GE(all.size(), 160u);
  for (const Mutation& mutation : all) {
    SCOPED_TRACE(mutation.what);
    Stream stream;
    mutation.mutate(stream);
    const auto finding = judged(stream);
    EXPECT_EQ(finding.outcome, mutation.outcome) << finding.detail;
    EXPECT_THAT(failed(finding), testing::Contains(mutation.check));
    EXPECT_THAT(finding.detail, HasSubstr(mutation.detail));
    const auto& named = check_named(finding, mutation.check);
    EXPECT_NE(named.expected(), named.actual());
  }
}

TEST(DumpJudge, AMutationNamesBothValues) {
  Stream stream;
  auto values = registers(2);
  values[static_cast<std::size_t>(vmcore::Register::kR13)] = 0x1234;
  stream.notes[1] = prstatus(values);
  const auto wrong = check_named(judged(stream), "registers of CPU 1");
  EXPECT_THAT(wrong.expected(), HasSubstr("r13 0xffff800000020010"));
  EXPECT_THAT(wrong.actual(), HasSubstr("untrue: "));
  EXPECT_THAT(wrong.actual(), HasSubstr("r13 0x1234"));
  EXPECT_THAT(wrong.actual(), testing::Not(HasSubstr("r12")));

  stream = {};
  stream.samples[5].blocks[3] = 0xdeadbeef;
  const auto page = check_named(judged(stream), "memory: pages anywhere");
  EXPECT_THAT(page.actual(), HasSubstr("0x3000000+0xc00 to 0x1000 differs: CRC-32 deadbeef, not 00001773"));
}

TEST(DumpJudge, WhatTheKernelSavesMustBeWhatTheCpuHad) {
  // The note is what the kernel meant to save, but the CPU was elsewhere when it was stopped.
  auto known = truth();
  known.cpus[kCpu1].stopped_at->rip += 0x1000;
  const auto other = judged({}, known);
  EXPECT_EQ(other.outcome, Outcome::kDumpIncomplete);
  EXPECT_THAT(other.detail, HasSubstr("the kernel saved others than those at its stop"));
  // A CPU that takes down its own registers does so in its own code.
  known = truth();
  known.cpus[kCpu0].by_own_code->end = known.cpus[kCpu0].by_own_code->begin;
  EXPECT_EQ(judged({}, known).outcome, Outcome::kDumpIncomplete);
}

TEST(DumpJudge, ANoteIsRecognisedByItsRegistersWhereOneIsMissing) {
  Stream stream;
  stream.notes.erase(stream.notes.begin());
  EXPECT_THAT(judged(stream).dump.missing_cpus(), ElementsAre(0));
  stream = {};
  stream.notes.pop_back();
  EXPECT_THAT(judged(stream).dump.missing_cpus(), ElementsAre(1));
}

TEST(DumpJudge, ACpuThatNobodyStoppedIsNotCompleteHoweverItsNoteLooks) {
  auto known = truth();
  known.cpus.erase(kCpu1);
  const auto finding = judged({}, known);
  EXPECT_EQ(finding.outcome, Outcome::kDumpIncomplete);
  EXPECT_THAT(finding.detail, HasSubstr("CPU 1"));
  EXPECT_THAT(finding.detail, HasSubstr("never seen to be stopped"));
}

TEST(DumpJudge, ACpuThatStillRanMayHaveWrittenButNotIntoCode) {
  auto known = truth();
  known.cpus.erase(kCpu1);
  Stream stream;
  stream.notes.pop_back();
  stream.samples[1].blocks[0] = 0;  // Data.
  stream.samples[5].blocks[0] = 0;  // A page somewhere.
  const auto excused = judged(stream, known);
  EXPECT_EQ(excused.outcome, Outcome::kDumpIncomplete) << excused.detail;
  EXPECT_THAT(excused.detail, HasSubstr("CPU 1 has no registers"));
  EXPECT_THAT(check_named(excused, "memory: kernel").actual(), HasSubstr("1 changed while CPU 1 still ran"));
  stream.samples[0].blocks[0] = 0;  // Code.
  EXPECT_EQ(judged(stream, known).outcome, Outcome::kDumpInvalid);
}

TEST(DumpJudge, MemoryThatNeedNotBeThereMayBeAbsent) {
  auto known = truth();
  known.samples[5].must_be_there = false;
  Stream stream;
  stream.samples.erase(stream.samples.begin() + 5);
  EXPECT_EQ(judged(stream, known).outcome, Outcome::kDumped);
}

TEST(DumpJudge, AnOopsHasNoPanicMessage) {
  auto known = truth();
  known.message.reset();
  Stream stream;
  stream.log = "[    1.0] BUG: kernel NULL pointer dereference\n[    1.0] CPU: 0 PID: 77 Comm: x\n";
  EXPECT_EQ(judged(stream, known).outcome, Outcome::kDumped);
  stream.log = "[    1.0] all is well\n";
  const auto finding = judged(stream, known);
  EXPECT_EQ(finding.outcome, Outcome::kDumpInvalid);
  EXPECT_THAT(failed(finding), ElementsAre("panic message"));
}

TEST(DumpJudge, AMessageThatIsKnownInPartIsCompared) {
  auto known = truth();
  known.message = PanicMessage{"fir", false};
  EXPECT_EQ(judged({}, known).outcome, Outcome::kDumped);
  known.message = PanicMessage{"sec", false};
  EXPECT_EQ(judged({}, known).outcome, Outcome::kDumpInvalid);
  known.message = PanicMessage{"fir", true};
  EXPECT_EQ(judged({}, known).outcome, Outcome::kDumpInvalid);
}

TEST(DumpJudge, TheAgentsCountOfCpusIsNotBelieved) {
  Stream stream;
  stream.checks.push_back(check("prstatus", false));
  EXPECT_EQ(judged(stream).outcome, Outcome::kDumped) << "the host counts the CPUs itself";
}

TEST(DumpJudge, AStreamThatLostSomethingIsTheHarnesssFault) {
  const auto verdict_of = [](const std::vector<Message>& messages, bool damaged) {
    DumpJudge judge;
    Message hello;
    hello.mutable_hello()->set_mode(agent::v1::MODE_CAPTURE);
    judge.take(hello);
    if (damaged) judge.take(agent::ProtocolError{});
    for (const auto& message : messages) judge.take(message);
    return judge.judge(truth(), {});
  };
  const auto whole = Stream().messages();
  EXPECT_TRUE(verdict_of(whole, false));
  EXPECT_EQ(verdict_of(whole, true).error().kind(), ErrorKind::kHost);
  for (std::size_t lost = 0; lost < whole.size(); ++lost) {
    const auto& message = whole[lost];
    if (!message.has_check() && !message.has_load() && !message.has_prstatus() && !message.has_samples()) continue;
    auto rest = whole;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(lost));
    const auto verdict = verdict_of(rest, false);
    ASSERT_FALSE(verdict) << lost;
    EXPECT_EQ(verdict.error().kind(), ErrorKind::kHost);
  }
}

TEST(DumpJudge, WhatTheFirstKernelsAgentLeftUnfinishedDoesNotCount) {
  DumpJudge judge;
  judge.take(agent::ProtocolError{});
  for (const auto& message : Stream().messages()) judge.take(message);
  EXPECT_TRUE(judge.judge(truth(), {}));
}

TEST(DumpJudge, ALogWithoutATextIsSaidToBeWithout) {
  const auto finding = judged({}, truth(), {.log_contains = {"first", "second"}});
  EXPECT_FALSE(finding.dump.log_matched());
  EXPECT_THAT(finding.dump.log_missing(), ElementsAre("second"));
}

}  // namespace
}  // namespace panicroom::harness
