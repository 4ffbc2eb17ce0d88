#include "kernels/image/orc.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "kernels/image/kernel_image.h"
#include "kernels/image/synthetic_kernel.h"

namespace panicroom::kernels {
namespace {

constexpr std::uint64_t kText = testing::kSyntheticText;
constexpr std::uint64_t kAddresses = testing::kSyntheticRodata;
constexpr LinkAddress kFunction{kText + 0x10};

struct Entry {
  std::uint64_t address;
  std::int16_t sp_offset;
  std::int16_t bp_offset;
  std::uint16_t flags;
};

template <typename T>
void put(std::vector<std::byte>& bytes, T value) {
  const auto at = bytes.size();
  bytes.resize(at + sizeof(T));
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

ElfImage image_with(const std::vector<Entry>& table, std::size_t entries_left_out = 0) {
  std::vector<std::byte> addresses;
  std::vector<std::byte> entries;
  for (const Entry& entry : table) {
    put(addresses,
        static_cast<std::int32_t>(static_cast<std::int64_t>(entry.address - (kAddresses + addresses.size()))));
    put(entries, entry.sp_offset);
    put(entries, entry.bp_offset);
    put(entries, entry.flags);
  }
  entries.resize(entries.size() - entries_left_out * 6);
  auto image =
      ElfImage::parse(testing::build_elf({{".text", kText, SHF_ALLOC | SHF_EXECINSTR, std::vector<std::byte>(0x1000)},
                                          {".orc_unwind_ip", kAddresses, SHF_ALLOC, addresses},
                                          {".orc_unwind", kAddresses + 0x10000, SHF_ALLOC, entries}}));
  EXPECT_TRUE(image) << image.error().message();
  return *std::move(image);
}

// sp_reg SP, bp_reg undefined, the type above.
constexpr std::uint16_t flags(unsigned type, OrcBase sp = OrcBase::kSp) {
  return static_cast<std::uint16_t>(static_cast<unsigned>(sp) | type << 8);
}

TEST(Orc, TwoBitsOfTypeAndAnEndOfItsOwn) {
  const auto image = image_with({{kText, 8, 0, flags(0)},
                                 {kText + 0x20, 24, -16, flags(0, OrcBase::kBp) | (1 << 4)},
                                 {kText + 0x40, 0, 0, flags(1)},
                                 {kText + 0x60, 16, 0, flags(2)},
                                 {kText + 0x80, 0, 0, (1 << 10)},
                                 {kText + 0x90, 0, 0, 0},
                                 {kText + 0xa0, 8, 0, flags(0) | (1 << 10)}});
  const auto table = OrcTable::find(image, kFunction);
  ASSERT_TRUE(table) << table.error().message();
  EXPECT_EQ(table->size(), 7u);
  EXPECT_FALSE(table->at({kText - 1}));
  EXPECT_EQ(table->at({kText})->type, OrcType::kCall);
  EXPECT_EQ(table->at({kText + 0x1f})->sp_offset, 8);
  const auto with_bp = table->at({kText + 0x20});
  EXPECT_EQ(with_bp->sp_base, OrcBase::kBp);
  EXPECT_EQ(with_bp->bp_base, OrcBase::kPreviousSp);
  EXPECT_EQ(with_bp->bp_offset, -16);
  EXPECT_EQ(table->at({kText + 0x40})->type, OrcType::kRegs);
  EXPECT_EQ(table->at({kText + 0x60})->type, OrcType::kRegsPartial);
  EXPECT_EQ(table->at({kText + 0x80})->type, OrcType::kEnd);
  EXPECT_FALSE(table->at({kText + 0x90})) << "a gap";
  EXPECT_EQ(table->at({kText + 0xa0})->type, OrcType::kCall) << "with the bit that says signal";
}

TEST(Orc, ThreeBitsOfType) {
  const auto image = image_with({{kText, 8, 0, flags(2)},
                                 {kText + 0x40, 0, 0, flags(3)},
                                 {kText + 0x60, 16, 0, flags(4)},
                                 {kText + 0x80, 0, 0, flags(1, OrcBase::kUndefined)},
                                 {kText + 0x90, 0, 0, 0}});
  const auto table = OrcTable::find(image, kFunction);
  ASSERT_TRUE(table) << table.error().message();
  EXPECT_EQ(table->at({kText + 1})->type, OrcType::kCall);
  EXPECT_EQ(table->at({kText + 0x40})->type, OrcType::kRegs);
  EXPECT_EQ(table->at({kText + 0x60})->type, OrcType::kRegsPartial);
  EXPECT_EQ(table->at({kText + 0x80})->type, OrcType::kEnd);
  EXPECT_FALSE(table->at({kText + 0x90}));
}

TEST(Orc, TablesThatDoNotFitEachOtherAreRefused) {
  EXPECT_EQ(OrcTable::find(image_with({{kText, 8, 0, flags(0)}}, 1), kFunction).error().kind(),
            ErrorKind::kInvalidInput);
  EXPECT_EQ(OrcTable::find(image_with({}), kFunction).error().kind(), ErrorKind::kInvalidInput);
  EXPECT_EQ(OrcTable::find(image_with({{kText + 0x20, 8, 0, flags(0)}}), kFunction).error().kind(),
            ErrorKind::kInvalidInput);
  auto without = ElfImage::parse(testing::build_elf({{".text", kText, SHF_ALLOC, std::vector<std::byte>(16)}}));
  ASSERT_TRUE(without);
  EXPECT_EQ(OrcTable::find(*without, kFunction).error().kind(), ErrorKind::kUnsupported);
}

// In a real kernel every C function begins with its return address on the top of the stack.
TEST(Orc, KnowsEveryFunctionOfARealKernel) {
  const char* path = std::getenv("PANICROOM_TEST_KERNEL");
  if (path == nullptr) GTEST_SKIP() << "PANICROOM_TEST_KERNEL is not set";
  const auto kernel = KernelImage::load(path);
  ASSERT_TRUE(kernel) << kernel.error().message();
  const auto panic = kernel->symbols().unique("panic");
  ASSERT_TRUE(panic);
  const auto table = OrcTable::find(kernel->elf(), panic->address);
  ASSERT_TRUE(table) << table.error().message();
  EXPECT_GT(table->size(), 100'000u);
  for (const char* name :
       {"panic", "schedule", "vprintk_emit", "crash_save_cpu", "do_syscall_64", "crash_nmi_callback"}) {
    const auto symbol = kernel->symbols().unique(name);
    ASSERT_TRUE(symbol) << symbol.error().message();
    const auto entry = table->at(symbol->address);
    ASSERT_TRUE(entry) << name;
    EXPECT_EQ(entry->type, OrcType::kCall) << name;
    EXPECT_EQ(entry->sp_base, OrcBase::kSp) << name;
    EXPECT_EQ(entry->sp_offset, 8) << name;
  }
  const auto nmi = kernel->symbols().unique("asm_exc_nmi");
  ASSERT_TRUE(nmi);
  EXPECT_EQ(table->at(nmi->address)->type, OrcType::kRegsPartial);
}

}  // namespace
}  // namespace panicroom::kernels
