#include "agent/vmcore/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

namespace panicroom::vmcore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Physical pages by number; virtual addresses by their page tables.
class FakeMemory : public Memory {
 public:
  static constexpr Gpa kTop{0x1000};

  Result<> read_physical(Gpa at, std::span<std::byte> out) override {
    for (std::byte& byte : out) {
      const auto page = pages_.find(at.value / kPageBytes);
      if (page == pages_.end()) return invalid_input("no memory at {}", at);
      byte = page->second[at.value % kPageBytes];
      at = at + 1;
    }
    return {};
  }
  Result<> read_virtual(Gva at, std::span<std::byte> out) override {
    const auto walk = TRY(walk_page_tables(
        kTop, 4, at, [this](Gpa table, std::span<std::byte> entry) { return read_physical(table, entry); }));
    if (!walk.target) return invalid_input("{} is not mapped", at);
    return read_physical(*walk.target, out);
  }

  std::vector<std::byte>& page(std::uint64_t address) {
    auto& content = pages_[address / kPageBytes];
    content.resize(kPageBytes);
    return content;
  }
  template <typename T>
  void put(std::uint64_t address, T value) {
    std::memcpy(page(address).data() + address % kPageBytes, &value, sizeof(value));
  }
  // By tables at 0x1000 (level 4), 0x2000, 0x3000 and 0x4000 (level 1): addresses in one 2 MiB are near each other.
  void map(Gva at, std::uint64_t physical) {
    put(0x1000 + (at.value >> 39 & 511) * 8, std::uint64_t{0x2063});
    put(0x2000 + (at.value >> 30 & 511) * 8, std::uint64_t{0x3063});
    put(0x3000 + (at.value >> 21 & 511) * 8, std::uint64_t{0x4063});
    put(0x4000 + (at.value >> 12 & 511) * 8, physical | 0x63);
  }

 private:
  std::map<std::uint64_t, std::vector<std::byte>> pages_;
};

constexpr Gva kText{0xffffffff81000000};

FakeMemory machine() {
  FakeMemory memory;
  memory.map(kText, 0x10000);
  memory.map(kText + 0x1000, 0x11000);
  memory.map(kText + 0x2000, 0x12000);
  memory.put(0x10000, std::uint64_t{0x1122334455667788});
  memory.put(0x11008, (kText + 0x2000).value);     // Where the log buffer is,
  memory.put(0x11010, std::uint32_t{kPageBytes});  // and its length.
  memory.put(0x12ff0, std::uint64_t{0xfeedbeef});
  return memory;
}

SamplePlan plan() {
  return {.kernel_pages = {{0xffffffff80000000}},
          .physical_pages = {{0x10000}, {0x7f000}},
          .log_buffer = SamplePlan::Buffer{{0xffffffff80001008}, {0xffffffff80001010}},
          .page_tables = LinkAddress{0xffffffff80700000}};
}

SampleContext context() {
  return {.slide = {0x1000000},
          .stack_pointers = {kText.value + 0x2f00, 0x7fff'0000'1000},
          .workload_pages = {{0x11000}},
          .top_table = FakeMemory::kTop,
          .paging_levels = 4};
}

std::vector<Sample> taken(FakeMemory& memory, const SamplePlan& what = plan(), const SampleContext& where = context()) {
  std::vector<Sample> samples;
  take_samples(what, where, memory, [&](const Sample& sample) { samples.push_back(sample); });
  return samples;
}

TEST(Samples, AreTakenAsPlanned) {
  auto memory = machine();
  const auto samples = taken(memory);
  std::vector<std::pair<SampleKind, std::uint64_t>> where;
  where.reserve(samples.size());
  for (const auto& sample : samples) where.emplace_back(sample.kind, sample.address);
  using enum SampleKind;
  EXPECT_THAT(where,
              ElementsAre(std::pair(kKernel, kText.value), std::pair(kLogBuffer, kText.value + 0x2000),
                          std::pair(kStack, kText.value + 0x2f00), std::pair(kPageTable, 0x1000),
                          std::pair(kPageTable, 0x2000), std::pair(kPageTable, 0x3000), std::pair(kPageTable, 0x4000),
                          std::pair(kPhysical, 0x10000), std::pair(kPhysical, 0x7f000), std::pair(kWorkload, 0x11000)))
      << "the stack pointer of user space is left out, and a table that two addresses share is looked at once";
  EXPECT_EQ(samples[2].bytes, 0x100u) << "to the end of the page";
  EXPECT_EQ(samples[2].blocks.size(), 1u);
  EXPECT_EQ(samples[0].blocks, samples[7].blocks) << "one page, by both of its addresses";
  EXPECT_THAT(samples[8].unreadable, HasSubstr("no memory"));
}

TEST(Samples, EveryBitCounts) {
  auto memory = machine();
  const auto before = taken(memory);
  for (const std::uint64_t at : {0x10000, 0x10fff, 0x12000, 0x12ff0, 0x4008, 0x11fff}) {
    for (const int bit : {0, 3, 7}) {
      auto changed = machine();
      changed.page(at)[at % kPageBytes] ^= static_cast<std::byte>(1 << bit);
      const auto after = taken(changed);
      std::set<std::uint64_t> differs;
      for (std::size_t i = 0; i < before.size() && i < after.size(); ++i) {
        if (before[i].blocks != after[i].blocks || before[i].address != after[i].address) differs.insert(i);
      }
      EXPECT_FALSE(differs.empty() && before.size() == after.size()) << at << " bit " << bit;
    }
  }
}

TEST(Samples, TheUseOfAPageIsNoChangeOfItsTable) {
  auto memory = machine();
  const auto before = taken(memory);
  memory.put(0x4000 + 8, std::uint64_t{0x11000 | 0x03});  // Neither accessed nor dirty any more.
  const auto after = taken(memory);
  ASSERT_EQ(before.size(), after.size());
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i].blocks, after[i].blocks) << i;
}

TEST(Samples, AHostileLengthIsBounded) {
  auto memory = machine();
  memory.put(0x11010, std::uint32_t{0xffffffff});
  std::size_t log = 0;
  for (const auto& sample : taken(memory)) log += sample.kind == SampleKind::kLogBuffer ? 1 : 0;
  EXPECT_EQ(log, kMaxLogPages / kLogStride);
}

TEST(Samples, ALogBufferThatCannotBeFoundIsSaidSo) {
  auto memory = machine();
  auto what = plan();
  what.log_buffer->pointer = {0xffffffff90000000};
  const auto samples = taken(memory, what);
  EXPECT_EQ(samples[1].kind, SampleKind::kLogBuffer);
  EXPECT_THAT(samples[1].unreadable, HasSubstr("not mapped"));
}

TEST(PageWalk, LargePagesAndFiveLevels) {
  FakeMemory memory;
  const auto read = [&](Gpa at, std::span<std::byte> out) { return memory.read_physical(at, out); };
  const Gva at{0xffffffff9e123456};
  memory.put(0x1000 + (at.value >> 39 & 511) * 8, std::uint64_t{0x2063});
  memory.put(0x2000 + (at.value >> 30 & 511) * 8, std::uint64_t{0x3063});
  memory.put(0x3000 + (at.value >> 21 & 511) * 8, std::uint64_t{0x8000'0000'4000'01e3});
  const auto large = walk_page_tables({0x1000}, 4, at, read);
  ASSERT_TRUE(large);
  EXPECT_EQ(large->target, Gpa{0x40000000 | (at.value & 0x1fffff)});
  EXPECT_THAT(large->tables, ElementsAre(Gpa{0x1000}, Gpa{0x2000}, Gpa{0x3000}));

  memory.put(0x2000 + (at.value >> 30 & 511) * 8, std::uint64_t{0x8000'00e3});
  EXPECT_EQ(walk_page_tables({0x1000}, 4, at, read)->target, Gpa{0x80000000 | (at.value & 0x3fffffff)});

  memory.put(0x5000 + (at.value >> 48 & 511) * 8, std::uint64_t{0x1063});
  const auto five = walk_page_tables({0x5000}, 5, at, read);
  ASSERT_TRUE(five);
  EXPECT_EQ(five->tables.front(), Gpa{0x5000});
  EXPECT_EQ(five->target, Gpa{0x80000000 | (at.value & 0x3fffffff)});

  EXPECT_EQ(walk_page_tables({0x1000}, 4, {0}, read)->target, std::nullopt);
  EXPECT_FALSE(walk_page_tables({0xdead000}, 4, at, read));
}

TEST(Pattern, EachPassHasAWordAndAPlaceOfItsOwn) {
  std::set<std::uint64_t> words;
  for (std::uint64_t pass = 1; pass < 1000; ++pass) {
    words.insert(pattern_word(VcpuId{0}, pass));
    words.insert(pattern_word(VcpuId{1}, pass));
    EXPECT_GE(pattern_slot(pass), kPatternHeaderWords);
    EXPECT_LT(pattern_slot(pass), kPatternWords);
  }
  EXPECT_EQ(words.size(), 2 * 999u);
}

}  // namespace
}  // namespace panicroom::vmcore
