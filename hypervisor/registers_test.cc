#include "hypervisor/registers.h"

#include <gtest/gtest.h>

#include <set>

namespace panicroom::hypervisor {
namespace {

TEST(Registers, EveryGprHasAFieldOfItsOwn) {
  Registers registers;
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kGprCount; ++i) {
    set(registers, static_cast<Gpr>(i), 100 + i);
    names.insert(name(static_cast<Gpr>(i)));
  }
  for (std::size_t i = 0; i < kGprCount; ++i) EXPECT_EQ(get(registers, static_cast<Gpr>(i)), 100 + i);
  EXPECT_EQ(names.size(), kGprCount);
}

TEST(Registers, GprsAreNumberedAsInstructionsEncodeThem) {
  Registers registers;
  registers.rcx = 1;
  registers.rbx = 3;
  registers.rdi = 7;
  registers.r15 = 15;
  EXPECT_EQ(get(registers, static_cast<Gpr>(1)), 1U);
  EXPECT_EQ(get(registers, static_cast<Gpr>(3)), 3U);
  EXPECT_EQ(get(registers, static_cast<Gpr>(7)), 7U);
  EXPECT_EQ(get(registers, static_cast<Gpr>(15)), 15U);
  EXPECT_EQ(name(Gpr::kRdi), "rdi");
}

TEST(Registers, CplKnowsTheModes) {
  Registers registers;
  registers.cs = 0xf003;
  EXPECT_EQ(cpl(registers), 0U) << "real mode: CS is no selector";
  registers.cr0 = kCr0Pe;
  EXPECT_EQ(cpl(registers), 3U);
  registers.cs = 0x10;
  EXPECT_EQ(cpl(registers), 0U);
  registers.rflags = kRflagsVm;
  EXPECT_EQ(cpl(registers), 3U) << "virtual-8086 mode";
}

}  // namespace
}  // namespace panicroom::hypervisor
