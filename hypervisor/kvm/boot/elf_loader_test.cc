#include "hypervisor/kvm/boot/elf_loader.h"

#include <elf.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <string>

#include "hypervisor/kvm/boot/synthetic_guest.h"

namespace panicroom::kvm {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kRam = 64ULL << 20;
constexpr GpaRange kTakenRange{Gpa{0x10000}, Gpa{0x20000}};

std::vector<std::byte> filled(std::size_t size, unsigned byte) { return {size, std::byte(byte)}; }

// Two segments, at 16 MiB (where build_elf()'s e_entry is) and at 0x300000.
std::vector<std::byte> sample() {
  return kernels::testing::build_elf({{".text", 0xffffffff81000000, SHF_ALLOC | SHF_EXECINSTR, filled(0x100, 0x90)},
                                      {".data", 0x300000, SHF_ALLOC | SHF_WRITE, filled(0x10, 0xdd)}});
}

// Changes a field of the `index`th program header.
template <typename T>
std::vector<std::byte> with(std::vector<std::byte> file, std::size_t index, std::size_t field, T value) {
  testing::store(file, sizeof(Elf64_Ehdr) + index * sizeof(Elf64_Phdr) + field, value);
  return file;
}

class ElfLoaderTest : public ::testing::Test {
 protected:
  ElfLoaderTest() : memory_(*GuestMemory::create(kRam)) {}

  Result<LoadedElf> load(std::vector<std::byte> file) {
    return load_elf(memory_, std::move(file), std::span(&kTakenRange, 1));
  }
  // What it says about a file that it must refuse, having written nothing.
  std::string refusal(std::vector<std::byte> file, ErrorKind kind = ErrorKind::kInvalidInput) {
    const auto loaded = load(std::move(file));
    if (loaded) return "no error";
    EXPECT_EQ(loaded.error().kind(), kind);
    EXPECT_EQ(bytes(0x300000, 1), filled(1, 0));
    return loaded.error().message();
  }
  std::vector<std::byte> bytes(std::uint64_t at, std::size_t size) {
    std::vector<std::byte> bytes(size);
    EXPECT_TRUE(memory_.read(Gpa{at}, bytes));
    return bytes;
  }

  GuestMemory memory_;
};

TEST_F(ElfLoaderTest, PutsSegmentsAtTheirPhysicalAddresses) {
  const auto loaded = load(sample());
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(loaded->entry, Gpa{0x1000000});
  EXPECT_EQ(loaded->end, Gpa{0x1000100});
  EXPECT_EQ(bytes(0x1000000, 0x100), filled(0x100, 0x90));
  EXPECT_EQ(bytes(0x300000, 0x10), filled(0x10, 0xdd));
}

TEST_F(ElfLoaderTest, ZeroesWhatTheFileDoesNotHave) {
  ASSERT_TRUE(memory_.write(Gpa{0x300010}, filled(0x20, 0xee)));
  ASSERT_TRUE(load(with(sample(), 1, offsetof(Elf64_Phdr, p_memsz), std::uint64_t{0x28})));
  EXPECT_EQ(bytes(0x300010, 0x18), filled(0x18, 0));
  EXPECT_EQ(bytes(0x300028, 8), filled(8, 0xee));
}

TEST_F(ElfLoaderTest, RefusesSegmentsOutsideOfMemory) {
  for (const std::uint64_t at : {kRam - 0xf, kRam, std::uint64_t{1} << 32, ~std::uint64_t{0}, ~std::uint64_t{0xf}}) {
    EXPECT_THAT(refusal(with(sample(), 1, offsetof(Elf64_Phdr, p_paddr), at)),
                HasSubstr("give the machine more memory"));
  }
  EXPECT_TRUE(load(with(sample(), 1, offsetof(Elf64_Phdr, p_paddr), kRam - 0x10)));
  EXPECT_THAT(refusal(with(sample(), 1, offsetof(Elf64_Phdr, p_memsz), kRam)), HasSubstr("does not fit"));
}

TEST_F(ElfLoaderTest, RefusesSegmentsThatOverlap) {
  EXPECT_THAT(refusal(with(sample(), 1, offsetof(Elf64_Phdr, p_paddr), std::uint64_t{0x10000f0})),
              HasSubstr("0x1000000 and 0x10000f0 overlap"));
  EXPECT_THAT(refusal(with(sample(), 1, offsetof(Elf64_Phdr, p_paddr), std::uint64_t{0x1000000})),
              HasSubstr("overlap"));
  EXPECT_TRUE(load(with(sample(), 1, offsetof(Elf64_Phdr, p_paddr), std::uint64_t{0x1000100})));
}

TEST_F(ElfLoaderTest, RefusesWhatIsTaken) {
  for (const std::uint64_t at : {0xfff1, 0x10000, 0x1ffff}) {
    EXPECT_THAT(refusal(with(sample(), 1, offsetof(Elf64_Phdr, p_paddr), at)),
                HasSubstr("overlaps what the loader has from 0x10000 to 0x20000"));
  }
  EXPECT_TRUE(load(with(sample(), 1, offsetof(Elf64_Phdr, p_paddr), std::uint64_t{0xfff0})));
  EXPECT_TRUE(load(with(sample(), 1, offsetof(Elf64_Phdr, p_paddr), std::uint64_t{0x20000})));
}

TEST_F(ElfLoaderTest, RefusesAnEntryThatIsNotLoaded) {
  auto file = sample();
  testing::store(file, offsetof(Elf64_Ehdr, e_entry), std::uint64_t{0xffffffff81000000});
  EXPECT_THAT(refusal(file), HasSubstr("e_entry 0xffffffff81000000 lies in no segment"));
  testing::store(file, offsetof(Elf64_Ehdr, e_entry), std::uint64_t{0x1000100});
  EXPECT_THAT(refusal(file), HasSubstr("e_entry 0x1000100"));
}

TEST_F(ElfLoaderTest, RefusesOtherFiles) {
  EXPECT_THAT(refusal(filled(100, 'x')), HasSubstr("not an ELF file"));
  auto file = sample();
  testing::store(file, EI_CLASS, std::uint8_t{ELFCLASS32});
  EXPECT_THAT(refusal(file, ErrorKind::kUnsupported), HasSubstr("32-bit"));
}

}  // namespace
}  // namespace panicroom::kvm
