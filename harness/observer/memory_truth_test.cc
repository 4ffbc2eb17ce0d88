#include "harness/observer/memory_truth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

Ranges dumped(const Ranges& usable, const Ranges& crash) {
  std::vector<MemoryRange> of_usable;
  std::vector<MemoryRange> of_crash;
  for (const auto& [begin, end] : usable) of_usable.push_back({{begin}, {end}});
  for (const auto& [begin, end] : crash) of_crash.push_back({{begin}, {end}});
  Ranges result;
  for (const auto& range : dumped_memory(of_usable, of_crash)) result.emplace_back(range.begin.value, range.end.value);
  return result;
}

TEST(DumpedMemory, IsWithoutTheFirstMegabyteAndTheCrashKernels) {
  const Ranges pc = {{0, 0x9fc00}, {0x100000, 0x1ffe0000}};
  EXPECT_EQ(dumped(pc, {{0x16000000, 0x1e000000}}), (Ranges{{0x100000, 0x16000000}, {0x1e000000, 0x1ffe0000}}));
  EXPECT_EQ(dumped(pc, {}), (Ranges{{0x100000, 0x1ffe0000}}));
  EXPECT_EQ(dumped(pc, {{0x100000, 0x1ffe0000}}), Ranges());
}

TEST(DumpedMemory, HighAndLowCrashMemoryAndPartsOfPages) {
  EXPECT_EQ(dumped({{0x100000000, 0x180000000}, {0x80000, 0xbffe0800}},
                   {{0x170000000, 0x180000000}, {0xb0000000, 0xb8000000}}),
            (Ranges{{0x100000, 0xb0000000}, {0xb8000000, 0xbffe0000}, {0x100000000, 0x170000000}}));
  EXPECT_EQ(dumped({{0x200001, 0x201fff}}, {}), Ranges());
}

}  // namespace
}  // namespace panicroom::harness
