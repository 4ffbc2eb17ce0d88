#include "hypervisor/qemu/guest_ram.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

namespace panicroom::qemu {
namespace {

constexpr std::uint64_t kGiB = 1ULL << 30;

TEST(RamOfPc, IsOnePieceUpToThreeAndAHalfGibibytes) {
  const auto pieces = ram_of_pc(3 * kGiB + kGiB / 2);
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_TRUE(is_ram(pieces, Gpa{0}, 3 * kGiB + kGiB / 2));
  EXPECT_FALSE(is_ram(pieces, Gpa{3 * kGiB + kGiB / 2 - 1}, 2));
}

TEST(RamOfPc, HasTheRestAboveFourGibibytes) {
  const auto pieces = ram_of_pc(4 * kGiB);
  ASSERT_EQ(pieces.size(), 2U);
  EXPECT_TRUE(is_ram(pieces, Gpa{3 * kGiB - 1}, 1));
  EXPECT_FALSE(is_ram(pieces, Gpa{3 * kGiB}, 1));
  EXPECT_TRUE(is_ram(pieces, Gpa{4 * kGiB}, kGiB));
  EXPECT_FALSE(is_ram(pieces, Gpa{4 * kGiB}, kGiB + 1));
  EXPECT_FALSE(is_ram(pieces, Gpa{~std::uint64_t{0}}, 2));
}

TEST(Gpa2Hva, AnswersWithAnAddress) {
  EXPECT_EQ(parse_gpa2hva("Host virtual address for 0x0 (pc.ram) is 0x7f0123400000\r\n"), 0x7f0123400000U);
}

TEST(Gpa2Hva, AnythingElseIsNone) {
  EXPECT_EQ(parse_gpa2hva("No memory is mapped at address 0x100000000\r\n"), std::nullopt);
  EXPECT_EQ(parse_gpa2hva("Memory at address 0xa0000 is not RAM\r\n"), std::nullopt);
  EXPECT_EQ(parse_gpa2hva("Host virtual address for 0x0 (pc.ram) is 0x\r\n"), std::nullopt);
  EXPECT_EQ(parse_gpa2hva(""), std::nullopt);
}

// This process as if it were QEMU.
class ReadingGuestRam : public ::testing::Test {
 protected:
  ReadingGuestRam() : low_(0x200000), high_(0x1000) {
    for (std::size_t i = 0; i < low_.size(); ++i) low_[i] = std::byte(i * 7);
    for (std::size_t i = 0; i < high_.size(); ++i) high_[i] = std::byte(i * 3 + 1);
  }
  [[nodiscard]] GuestRam ram(pid_t pid) const {
    return {pid,
            {{{Gpa{0}, low_.size()}, reinterpret_cast<std::uint64_t>(low_.data())},
             {{Gpa{4 * kGiB}, high_.size()}, reinterpret_cast<std::uint64_t>(high_.data())}}};
  }
  std::vector<std::byte> low_;
  std::vector<std::byte> high_;
};

TEST_F(ReadingGuestRam, GivesTheBytesOfTheRightPiece) {
  std::vector<std::byte> bytes(100);
  ASSERT_TRUE(ram(::getpid()).read(Gpa{0x123456}, bytes));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), low_.begin() + 0x123456));
  ASSERT_TRUE(ram(::getpid()).read(Gpa{4 * kGiB + 5}, bytes));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), high_.begin() + 5));
}

TEST_F(ReadingGuestRam, DoesNotCoverTheLegacyHole) {
  const auto it = ram(::getpid());
  EXPECT_TRUE(it.covers(Gpa{0x9fff0}, 16));
  EXPECT_FALSE(it.covers(Gpa{0x9fff0}, 17));
  EXPECT_FALSE(it.covers(Gpa{0xb8000}, 2));
  EXPECT_FALSE(it.covers(Gpa{0xfffff}, 1));
  EXPECT_TRUE(it.covers(Gpa{0x100000}, 1));
  EXPECT_FALSE(it.covers(Gpa{0x1fffff}, 2));
  EXPECT_FALSE(it.covers(Gpa{0x200000}, 1));
}

TEST_F(ReadingGuestRam, SaysWhyItCannot) {
  std::vector<std::byte> bytes(8);
  EXPECT_EQ(ram(::getpid()).read(Gpa{0x300000}, bytes).error().kind(), ErrorKind::kInvalidInput);
  // More than any process number (PID_MAX_LIMIT).
  const auto nobody = ram(0x7fffffff).read(Gpa{0}, bytes);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().kind(), ErrorKind::kHost);
  EXPECT_NE(nobody.error().message().find("No such process"), std::string::npos) << nobody.error().message();
}

}  // namespace
}  // namespace panicroom::qemu
