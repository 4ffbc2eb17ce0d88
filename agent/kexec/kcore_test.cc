#include "agent/kexec/kcore.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace panicroom::kexec {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kNone = ~std::uint64_t{0};

Elf64_Phdr mapping(std::uint64_t virtual_address, std::uint64_t physical_address, std::uint64_t bytes) {
  Elf64_Phdr header{};
  header.p_type = PT_LOAD;
  header.p_vaddr = virtual_address;
  header.p_paddr = physical_address;
  header.p_memsz = bytes;
  return header;
}

// As fs/proc/kcore.c has it: a note first, then the mappings.
std::vector<std::byte> kcore(const std::vector<Elf64_Phdr>& mappings) {
  Elf64_Ehdr elf{};
  std::memcpy(elf.e_ident, ELFMAG, SELFMAG);
  elf.e_ident[EI_CLASS] = ELFCLASS64;
  elf.e_type = ET_CORE;
  elf.e_machine = EM_X86_64;
  elf.e_phoff = sizeof(elf);
  elf.e_phentsize = sizeof(Elf64_Phdr);
  elf.e_phnum = static_cast<Elf64_Half>(mappings.size() + 1);
  Elf64_Phdr note{};
  note.p_type = PT_NOTE;
  std::vector<std::byte> bytes(sizeof(elf) + (mappings.size() + 1) * sizeof(Elf64_Phdr));
  std::memcpy(bytes.data(), &elf, sizeof(elf));
  std::memcpy(bytes.data() + sizeof(elf), &note, sizeof(note));
  std::memcpy(bytes.data() + sizeof(elf) + sizeof(note), mappings.data(), mappings.size() * sizeof(Elf64_Phdr));
  return bytes;
}

const std::vector<Elf64_Phdr> kMappings = {
    mapping(0xffffffff9a600000, 0x1b400000, 0x2e2c000),  // The image, KASLR's slides and all.
    mapping(0xffffb2a4c0000000, kNone, 0x1fffffffffff),  // vmalloc
    mapping(0xffffffffc0000000, kNone, 0x3f000000),      // modules
    mapping(0xffffffffff600000, kNone, 0x1000),          // vsyscall
    mapping(0xffff9e0f80001000, 0x1000, 0x9e000),        // RAM
    mapping(0xffff9e0f80100000, 0x100000, 0x1fee0000),
};

TEST(Kcore, TellsWhereTheKernelIs) {
  const auto bytes = kcore(kMappings);
  const auto size = kcore_headers_size(Bytes(bytes).first(kElfHeaderBytes));
  ASSERT_TRUE(size) << size.error().message();
  EXPECT_EQ(*size, bytes.size());
  const auto place = read_kcore(bytes);
  ASSERT_TRUE(place) << place.error().message();
  EXPECT_EQ(*place, (KernelPlace{.text = {0xffffffff9a600000},
                                 .text_physical = {0x1b400000},
                                 .text_bytes = 0x2e2c000,
                                 .direct_map = {0xffff9e0f80000000}}));
}

TEST(Kcore, APlaceThatIsNotToldIsNamed) {
  const auto no_image = read_kcore(kcore({kMappings.begin() + 1, kMappings.end()}));
  ASSERT_FALSE(no_image);
  EXPECT_THAT(no_image.error().message(), HasSubstr("kernel's image"));
  const auto no_memory = read_kcore(kcore({kMappings.begin(), kMappings.begin() + 4}));
  ASSERT_FALSE(no_memory);
  EXPECT_THAT(no_memory.error().message(), HasSubstr("physical memory"));
}

TEST(Kcore, AnImageLargerThanItsMappingIsNone) {
  auto mappings = kMappings;
  mappings[0].p_memsz = 0x40000000;
  EXPECT_FALSE(read_kcore(kcore(mappings)));
}

TEST(Kcore, RefusesWhatIsNoCore) {
  const auto good = kcore(kMappings);
  EXPECT_FALSE(kcore_headers_size({}));
  EXPECT_FALSE(read_kcore(Bytes(good).first(good.size() - 1)));
  for (const std::size_t offset : {offsetof(Elf64_Ehdr, e_ident), offsetof(Elf64_Ehdr, e_type),
                                   offsetof(Elf64_Ehdr, e_machine), offsetof(Elf64_Ehdr, e_phentsize)}) {
    auto bad = good;
    bad[offset] ^= std::byte{0x55};
    EXPECT_FALSE(kcore_headers_size(bad)) << offset;
  }
  auto many = good;
  many[offsetof(Elf64_Ehdr, e_phnum) + 1] = std::byte{0xff};
  EXPECT_FALSE(kcore_headers_size(many));
  auto far = good;
  far[offsetof(Elf64_Ehdr, e_phoff) + 7] = std::byte{0xff};
  EXPECT_FALSE(kcore_headers_size(far));
}

}  // namespace
}  // namespace panicroom::kexec
