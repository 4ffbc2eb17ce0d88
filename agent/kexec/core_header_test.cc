#include "agent/kexec/core_header.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"

namespace panicroom::kexec {
namespace {

TEST(NoteAreas, AreReadAsSysfsWritesThem) {
  const auto info = parse_vmcoreinfo_area("0x0000000012345000 1024\n");
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(*info, (NoteArea{{0x12345000}, 0x1024}));
  const auto notes = parse_crash_notes("1fc2a400\n", "360\n");
  ASSERT_TRUE(notes) << notes.error().message();
  EXPECT_EQ(*notes, (NoteArea{{0x1fc2a400}, 360}));
}

TEST(NoteAreas, WhatIsNoneIsRefused) {
  for (const auto* text : {"", "0x1000", "1000 400", "0x1000 ", "0x 400", "0x1000 400 1", "0x1000 0", "0x0 400",
                           "0x1000 ffffffffff", "0xffffffffffffffff 400", "0xzz 400"}) {
    EXPECT_FALSE(parse_vmcoreinfo_area(text)) << text;
  }
  EXPECT_FALSE(parse_crash_notes("", "360"));
  EXPECT_FALSE(parse_crash_notes("1000", ""));
  EXPECT_FALSE(parse_crash_notes("1000", "-1"));
  EXPECT_FALSE(parse_crash_notes("0", "360"));
  EXPECT_FALSE(parse_crash_notes("1000", "0"));
}

TEST(CoreHeader, HasTheKernelsHeadersInTheKernelsOrder) {
  const auto bytes = build_core_header({.cpus = {{{0x1000}, 360}, {{0x2000}, 360}},
                                        .vmcoreinfo = {{0x3000}, 1024},
                                        .kernel = {.text = {0xffffffff9a600000},
                                                   .text_physical = {0x1b400000},
                                                   .text_bytes = 0x2e2c000,
                                                   .direct_map = {0xffff9e0f80000000}},
                                        .memory = {{{0x100000}, {0x13000000}}, {{0x1b000000}, {0x1ffe0000}}}});
  ASSERT_TRUE(bytes) << bytes.error().message();
  const auto elf = load<Elf64_Ehdr>(*bytes, 0);
  ASSERT_TRUE(elf);
  EXPECT_EQ(elf->e_type, ET_CORE);
  EXPECT_EQ(elf->e_phnum, 6);
  EXPECT_EQ(bytes->size(), elf->e_phoff + elf->e_phnum * sizeof(Elf64_Phdr));
  const auto header = [&](std::uint64_t index) {
    return load<Elf64_Phdr>(*bytes, elf->e_phoff + index * sizeof(Elf64_Phdr)).value();
  };
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(header(i).p_type, static_cast<std::uint32_t>(PT_NOTE)) << i;
    EXPECT_EQ(header(i).p_offset, 0x1000 * (i + 1)) << i;
    EXPECT_EQ(header(i).p_filesz, i < 2 ? 360U : 1024U) << i;
  }
  for (std::uint64_t i = 3; i < 6; ++i) {
    EXPECT_EQ(header(i).p_type, static_cast<std::uint32_t>(PT_LOAD)) << i;
    EXPECT_EQ(header(i).p_offset, header(i).p_paddr) << i;
    EXPECT_EQ(header(i).p_filesz, header(i).p_memsz) << i;
  }
  EXPECT_EQ(header(3).p_vaddr, 0xffffffff9a600000);
  EXPECT_EQ(header(3).p_paddr, 0x1b400000U);
  EXPECT_EQ(header(3).p_memsz, 0x2e2c000U);
  EXPECT_EQ(header(5).p_vaddr, 0xffff9e0f9b000000);
  EXPECT_EQ(header(5).p_paddr, 0x1b000000U);
  EXPECT_EQ(header(5).p_memsz, 0x4fe0000U);
}

TEST(CoreHeader, IsNotOfAnySize) {
  CoreHeader what;
  what.memory.resize(kMaxCoreHeaders);
  EXPECT_FALSE(build_core_header(what));
}

}  // namespace
}  // namespace panicroom::kexec
