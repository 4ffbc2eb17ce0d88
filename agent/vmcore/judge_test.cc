#include "agent/vmcore/judge.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "agent/vmcore/synthetic_vmcore.h"
#include "agent/vmcore/vmcoreinfo.h"

namespace panicroom::vmcore {
namespace {

using testing::HasSubstr;

struct Collected : Findings {
  void check(const Check& one) override {
    EXPECT_FALSE(checks.contains(std::string(one.name))) << one.name << " twice";
    checks.emplace(one.name, one);
  }
  void prstatus(std::size_t index, const Prstatus& status) override {
    EXPECT_EQ(index, cpus.size());
    cpus.push_back(status);
  }
  void load(const LoadSegment& segment) override { loads.push_back(segment); }
  void sample(const Sample& sample) override { samples.push_back(sample); }
  void vmcoreinfo(std::string_view text) override { info = text; }
  void dead_log(const PrintkLog& one) override { log = one; }

  [[nodiscard]] std::set<std::string> failed() const {
    std::set<std::string> names;
    for (const auto& [name, check] : checks) {
      if (!check.ok) names.insert(name);
    }
    return names;
  }

  std::map<std::string, Check> checks;
  std::vector<Prstatus> cpus;
  std::vector<LoadSegment> loads;
  std::vector<Sample> samples;
  std::string info;
  PrintkLog log;
};

struct Judged {
  Verdict verdict;
  Collected found;
};

Judged judged(Bytes file, const JudgeOptions& options = {.expected_cpus = 2}) {
  Judged out;
  const BufferReader reader(file);
  out.verdict = judge(reader, options, out.found);
  return out;
}
Judged judged(const SyntheticVmcore& vmcore, const JudgeOptions& options = {.expected_cpus = 2}) {
  return judged(Bytes(vmcore.build()), options);
}

using Names = std::set<std::string>;
Names names(std::initializer_list<std::string_view> list) { return {list.begin(), list.end()}; }

TEST(Judge, AGoodDumpPassesEverything) {
  const auto [verdict, found] = judged(SyntheticVmcore());
  EXPECT_EQ(found.failed(), Names());
  EXPECT_EQ(verdict.checks_passed, 6u);
  EXPECT_EQ(verdict.checks_failed, 0u);
  EXPECT_EQ(verdict.cpus_with_registers, 2u);
  EXPECT_EQ(verdict.load_bytes, 0x2000u);
  EXPECT_EQ(verdict.log_records, 2u);
  ASSERT_EQ(found.cpus.size(), 2u);
  EXPECT_EQ(found.cpus[1].pid, 42);
  EXPECT_EQ(found.cpus[1][Register::kR15], 2000u);
  EXPECT_EQ(found.cpus[1][Register::kRip], 2016u);
  EXPECT_EQ(found.cpus[1][Register::kGs], 2026u);
  EXPECT_THAT(found.info, HasSubstr("OSRELEASE=6.1.0-test\n"));
  EXPECT_EQ(found.log.text, "[    0.000000] Linux version 6.1\n[    1.234567] Kernel panic - not syncing: first\n");
}

TEST(Judge, MemoryIsSampledAsPlanned) {
  const auto plan = SyntheticVmcore::sample_plan();
  const JudgeOptions options{
      .expected_cpus = 2, .samples = plan, .workload_pages = {{SyntheticVmcore::kKernelPhysical + 0x1000}}};
  const auto [verdict, found] = judged(SyntheticVmcore(), options);
  ASSERT_EQ(found.loads.size(), 1u);
  EXPECT_EQ(found.loads[0].physical_address, Gpa{SyntheticVmcore::kKernelPhysical});
  ASSERT_EQ(found.samples.size(), 6u);
  EXPECT_EQ(verdict.samples, 6u);
  const auto& [text, data, log, inside, outside, workload] = std::tie(
      found.samples[0], found.samples[1], found.samples[2], found.samples[3], found.samples[4], found.samples[5]);
  EXPECT_EQ(text.address, SyntheticVmcore::kKernelVirtual);
  EXPECT_EQ(text.blocks.size(), kPageBytes / kBlockBytes);
  EXPECT_EQ(log.kind, SampleKind::kLogBuffer);
  EXPECT_EQ(log.blocks, data.blocks) << "the log's text is the second page";
  EXPECT_EQ(inside.blocks, text.blocks) << "the same page by its physical address";
  EXPECT_THAT(outside.unreadable, HasSubstr("no PT_LOAD"));
  EXPECT_EQ(workload.blocks, data.blocks);

  // One bit of one page.
  auto file = SyntheticVmcore().build();
  file[file.size() - 1] ^= std::byte{0x10};
  const auto changed = judged(Bytes(file), options).found.samples;
  EXPECT_EQ(changed[0].blocks, text.blocks);
  EXPECT_NE(changed[1].blocks.back(), data.blocks.back());
  EXPECT_EQ(std::vector(changed[1].blocks.begin(), changed[1].blocks.end() - 1),
            std::vector(data.blocks.begin(), data.blocks.end() - 1));
}

TEST(Judge, KernelMemoryIsFoundByPhysBaseToo) {
  SyntheticVmcore vmcore;
  vmcore.kernel_is_mapped = false;
  EXPECT_EQ(judged(vmcore).found.failed(), Names());
  vmcore.info_overrides["NUMBER(phys_base)"] = "";
  EXPECT_EQ(judged(vmcore).found.failed(), names({kCheckDeadLog}));
}

TEST(Judge, AMissingCpuFails) {
  SyntheticVmcore vmcore;
  vmcore.prstatus_pids = {7};
  const auto [verdict, found] = judged(vmcore);
  EXPECT_EQ(found.failed(), names({kCheckPrstatus}));
  EXPECT_EQ(verdict.cpus_with_registers, 1u);
  EXPECT_EQ(found.checks.at(std::string(kCheckPrstatus)).expected, "registers of 2 CPUs");
  EXPECT_EQ(found.checks.at(std::string(kCheckPrstatus)).actual, "1");
  EXPECT_EQ(judged(vmcore, {}).found.failed(), Names()) << "unknown how many: one is enough";
  vmcore.prstatus_pids = {};
  EXPECT_EQ(judged(vmcore, {}).found.failed(), names({kCheckPrstatus}));
}

TEST(Judge, ACpuWithEveryRegisterZeroIsMissing) {
  SyntheticVmcore vmcore;
  vmcore.zero_registers = true;
  const auto [verdict, found] = judged(vmcore);
  EXPECT_EQ(found.failed(), names({kCheckPrstatus}));
  EXPECT_EQ(found.cpus.size(), 2u) << "handed on all the same";
  EXPECT_THAT(found.checks.at(std::string(kCheckPrstatus)).actual, HasSubstr("1 with every register zero"));
}

TEST(Judge, WhatIsNoX86CoreIsRefusedAtOnce) {
  const auto spoiled = [](std::size_t at, std::uint8_t value) {
    auto file = SyntheticVmcore().build();
    file[at] = std::byte{value};
    const auto found = judged(Bytes(file)).found;
    EXPECT_EQ(found.checks.size(), 1u);
    return found.checks.at(std::string(kCheckElfHeader)).actual;
  };
  EXPECT_THAT(spoiled(0, 0), HasSubstr("magic"));
  EXPECT_THAT(spoiled(EI_CLASS, ELFCLASS32), HasSubstr("EI_CLASS"));
  EXPECT_THAT(spoiled(EI_DATA, ELFDATA2MSB), HasSubstr("EI_DATA"));
  EXPECT_THAT(spoiled(offsetof(Elf64_Ehdr, e_type), ET_EXEC), HasSubstr("e_type"));
  EXPECT_THAT(spoiled(offsetof(Elf64_Ehdr, e_machine), EM_386), HasSubstr("e_machine"));
  EXPECT_THAT(spoiled(offsetof(Elf64_Ehdr, e_phentsize), 32), HasSubstr("e_phentsize"));
  EXPECT_THAT(spoiled(offsetof(Elf64_Ehdr, e_phnum), 0), HasSubstr("e_phnum"));
  EXPECT_THAT(spoiled(offsetof(Elf64_Ehdr, e_phnum) + 1, 0xfe), HasSubstr("program header"));
  EXPECT_THAT(spoiled(offsetof(Elf64_Ehdr, e_phoff) + 7, 0xff), HasSubstr("e_phoff"));
  EXPECT_EQ(judged(Bytes()).found.failed(), names({kCheckElfHeader}));
}

TEST(Judge, EveryTruncationIsNoticed) {
  const auto file = SyntheticVmcore().build();
  for (std::size_t length = 0; length < file.size(); length += 61) {
    EXPECT_GE(judged(Bytes(file).first(length)).verdict.checks_failed, 1u) << length;
  }
  EXPECT_EQ(judged(Bytes(file).first(file.size() - 1)).found.failed(), names({kCheckLoads}));
}

TEST(Judge, ADamagedNoteKeepsThoseBeforeIt) {
  auto file = SyntheticVmcore().build();
  // The length of the second note's content.
  const std::size_t second = 0x200 + sizeof(Elf64_Nhdr) + 8 + 336;
  const std::uint32_t huge = 0xfffffff0;
  std::memcpy(file.data() + second + 4, &huge, sizeof(huge));
  const auto [verdict, found] = judged(Bytes(file));
  EXPECT_EQ(found.failed(), names({kCheckNotes, kCheckPrstatus, kCheckVmcoreinfo, kCheckDeadLog}));
  EXPECT_EQ(verdict.cpus_with_registers, 1u);
}

TEST(Judge, ANoteSegmentOfGigabytesIsNotAllocated) {
  auto file = SyntheticVmcore().build();
  const std::uint64_t huge = 1ULL << 40;
  std::memcpy(file.data() + sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_filesz), &huge, sizeof(huge));
  const auto found = judged(Bytes(file)).found;
  EXPECT_TRUE(found.failed().contains(std::string(kCheckNotes)));
  EXPECT_THAT(found.checks.at(std::string(kCheckNotes)).actual, HasSubstr("larger than any kernel writes"));
}

TEST(PrintkLog, WrapsAroundTheRingAndKeepsTheNewest) {
  SyntheticVmcore vmcore;
  vmcore.records.clear();
  vmcore.first_id = 1000;
  for (int i = 0; i < 12; ++i) vmcore.records.push_back({fmt::format("line {} {}", i, std::string(20, 'x')), 0});
  const auto all = judged(vmcore).found.log;
  EXPECT_EQ(all.records, 12u);
  EXPECT_EQ(all.omitted, 0u);
  EXPECT_THAT(all.text, testing::StartsWith("[    0.000000] line 0 "));

  const auto newest = judged(vmcore, {.expected_cpus = 2, .max_log_bytes = 100}).found.log;
  EXPECT_EQ(newest.records, 2u);
  EXPECT_EQ(newest.omitted, 10u);
  EXPECT_LE(newest.text.size(), 100u);
  EXPECT_THAT(newest.text, testing::EndsWith(std::string("line 11 ") + std::string(20, 'x') + "\n"));
}

TEST(PrintkLog, RecordsInTheWorksAreCountedAndLeftOut) {
  SyntheticVmcore vmcore;
  vmcore.records = {{"done", 0, 2}, {"being written", 0, 0}, {"committed", 0, 1}, {"given up", 0, 3}};
  const auto log = judged(vmcore).found.log;
  EXPECT_EQ(log.text, "[    0.000000] done\n[    0.000000] committed\n");
  EXPECT_EQ(log.records, 2u);
  EXPECT_EQ(log.unreadable, 2u);
}

TEST(PrintkLog, EmptyAndManyLinedRecords) {
  SyntheticVmcore vmcore;
  vmcore.records = {{"", 5'000'000}, {"one\ntwo", 6'000'000}};
  EXPECT_EQ(judged(vmcore).found.log.text, "[    0.005000] \n[    0.006000] one\n[    0.006000] two\n");
}

TEST(PrintkLog, HostileLayoutIsAnErrorThatNamesTheField) {
  const auto complaint = [](const std::string& key, const std::string& value) {
    SyntheticVmcore vmcore;
    vmcore.info_overrides[key] = value;
    const auto found = judged(vmcore).found;
    EXPECT_EQ(found.failed(), names({kCheckDeadLog})) << key;
    return found.checks.at(std::string(kCheckDeadLog)).actual;
  };
  EXPECT_THAT(complaint("SYMBOL(prb)", ""), HasSubstr("SYMBOL(prb)"));
  EXPECT_THAT(complaint("SYMBOL(prb)", "1234"), HasSubstr("no PT_LOAD holds"));
  EXPECT_THAT(complaint("SIZE(prb_desc)", "0"), HasSubstr("SIZE(prb_desc)=0"));
  EXPECT_THAT(complaint("SIZE(printk_info)", "99999999999"), HasSubstr("SIZE(printk_info)"));
  EXPECT_THAT(complaint("OFFSET(prb_desc_ring.head_id)", "18446744073709551615"), HasSubstr("prb_desc_ring.head_id"));
  EXPECT_THAT(complaint("OFFSET(prb_desc_ring.count_bits)", "4000"), HasSubstr("outside of struct printk_ringbuffer"));
  EXPECT_THAT(complaint("OFFSET(prb_desc_ring.count_bits)", "8"), HasSubstr("2^"));
  EXPECT_THAT(complaint("OFFSET(prb_desc_ring.tail_id)", "16"), HasSubstr("do not belong together"));
  EXPECT_THAT(complaint("OFFSET(prb_data_ring.data)", "garbage"), HasSubstr("prb_data_ring.data"));
}

TEST(PrintkLog, ReadsNoTextOutsideOfTheRing) {
  SyntheticVmcore vmcore;
  vmcore.info_overrides["OFFSET(prb_data_blk_lpos.next)"] = "0";  // begin == next: a block of no length.
  const auto log = judged(vmcore).found.log;
  EXPECT_EQ(log.records, 0u);
  EXPECT_EQ(log.unreadable, 2u);
}

TEST(Vmcoreinfo, Lookups) {
  const Vmcoreinfo info(
      "OSRELEASE=a\nOSRELEASE=b\nnonsense\n=x\nSYMBOL(s)=ffffffff81000000\nOFFSET(a.b)=16\nSIZE(c)=x\n"
      "NUMBER(phys_base)=-4096\nLENGTH(l)=3\nKERNELOFFSET=1e000000\nSIZE(d)=");
  EXPECT_EQ(info.value("OSRELEASE"), "b");
  EXPECT_EQ(info.symbol("s"), Gva{0xffffffff81000000});
  EXPECT_EQ(info.offset("a.b"), 16u);
  EXPECT_EQ(info.size("c"), std::nullopt);
  EXPECT_EQ(info.size("d"), std::nullopt);
  EXPECT_EQ(info.number("phys_base"), -4096);
  EXPECT_EQ(info.length("l"), 3u);
  EXPECT_EQ(info.kernel_offset(), KaslrSlide{0x1e000000});
  EXPECT_EQ(info.symbol("t"), std::nullopt);
}

}  // namespace
}  // namespace panicroom::vmcore
