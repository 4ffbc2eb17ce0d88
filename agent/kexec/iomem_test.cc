#include "agent/kexec/iomem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace panicroom::kexec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr PhysicalRange range(std::uint64_t begin, std::uint64_t end) { return {{begin}, {end}}; }

// As a QEMU machine with 512 MiB has it.
constexpr std::string_view kText =
    "00000000-00000fff : Reserved\n"
    "00001000-0009fbff : System RAM\n"
    "0009fc00-0009ffff : Reserved\n"
    "000a0000-000bffff : PCI Bus 0000:00\n"
    "000f0000-000fffff : Reserved\n"
    "  000f0000-000fffff : System ROM\n"
    "00100000-1ffdffff : System RAM\n"
    "  13000000-1affffff : Crash kernel\n"
    "  1b400000-1c202a17 : Kernel code\n"
    "1ffe0000-1ffeffff : ACPI Tables\n"
    "1fff0000-1fffffff : ACPI Non-volatile Storage\n"
    "fed00000-fed003ff : HPET 0\n"
    "  fed00000-fed003ff : PNP0103:00\n";

TEST(Iomem, ListsWhatMattersByItsName) {
  const auto map = parse_iomem(kText);
  ASSERT_TRUE(map) << map.error().message();
  EXPECT_THAT(map->ram, ElementsAre(range(0x1000, 0x9fc00), range(0x100000, 0x1ffe0000)));
  EXPECT_THAT(map->crash_memory, ElementsAre(range(0x13000000, 0x1b000000)));
  EXPECT_THAT(map->acpi_tables, ElementsAre(range(0x1ffe0000, 0x1fff0000)));
  EXPECT_THAT(map->acpi_storage, ElementsAre(range(0x1fff0000, 0x20000000)));
  EXPECT_THAT(map->reserved, ElementsAre(range(0, 0x1000), range(0x9fc00, 0xa0000), range(0xf0000, 0x100000)));
}

TEST(Iomem, ListsAreInOrder) {
  const auto map = parse_iomem("100000000-1ffffffff : System RAM\n00100000-bfffffff : System RAM");
  ASSERT_TRUE(map) << map.error().message();
  EXPECT_THAT(map->ram, ElementsAre(range(0x100000, 0xc0000000), range(0x100000000, 0x200000000)));
}

TEST(Iomem, WithoutAddressesThereIsNoMemory) {
  for (const auto* text : {"", "00000000-00000000 : System RAM\n  00000000-00000000 : Crash kernel\n"}) {
    const auto map = parse_iomem(text);
    ASSERT_FALSE(map) << text;
    EXPECT_THAT(map.error().message(), HasSubstr("no memory"));
  }
}

TEST(Iomem, WhatIsNoRangeIsNamedByItsLine) {
  for (const auto* line :
       {"System RAM", "1000 : System RAM", "1000-2000", "1000-2000: System RAM", "2000-1000 : System RAM",
        "-1000 : System RAM", "1000-ffffffffffffffff : System RAM", "1000-11111111111111111 : System RAM", "   "}) {
    const auto map = parse_iomem("00001000-0009fbff : System RAM\n" + std::string(line) + "\n");
    ASSERT_FALSE(map) << line;
    EXPECT_THAT(map.error().message(), HasSubstr("line 2")) << line;
  }
}

TEST(Iomem, ThereAreNotAnyNumberOfRanges) {
  std::string text;
  for (std::size_t i = 0; i <= kMaxPhysicalRanges; ++i) text += "1000-1fff : Reserved\n";
  EXPECT_FALSE(parse_iomem(text));
}

TEST(PhysicalRanges, AHoleIsTakenOut) {
  const std::vector ranges = {range(10, 20), range(30, 40)};
  EXPECT_THAT(without(ranges, range(0, 10)), ElementsAre(range(10, 20), range(30, 40)));
  EXPECT_THAT(without(ranges, range(12, 15)), ElementsAre(range(10, 12), range(15, 20), range(30, 40)));
  EXPECT_THAT(without(ranges, range(15, 35)), ElementsAre(range(10, 15), range(35, 40)));
  EXPECT_THAT(without(ranges, range(10, 20)), ElementsAre(range(30, 40)));
  EXPECT_THAT(without(ranges, range(0, 100)), IsEmpty());
  EXPECT_THAT(without(ranges, range(15, 15)), ElementsAre(range(10, 20), range(30, 40)));
}

TEST(PhysicalRanges, AWindowCutsThem) {
  const std::vector ranges = {range(10, 20), range(30, 40)};
  EXPECT_THAT(within(ranges, range(0, 100)), ElementsAre(range(10, 20), range(30, 40)));
  EXPECT_THAT(within(ranges, range(15, 35)), ElementsAre(range(15, 20), range(30, 35)));
  EXPECT_THAT(within(ranges, range(20, 30)), IsEmpty());
}

}  // namespace
}  // namespace panicroom::kexec
