#include "agent/vmcore/block_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "agent/vmcore/page_walk.h"

namespace panicroom::vmcore {
namespace {

constexpr std::size_t kBlock = BlockReader::kBlockBytes;

// Counts how often it is read, and has one byte that cannot be.
class File : public Reader {
 public:
  explicit File(std::size_t size) : bytes_(size) {
    for (std::size_t i = 0; i < size; ++i) bytes_[i] = static_cast<std::byte>(i * 7 + i / 251);
  }
  Result<> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    ++reads;
    most = std::max(most, out.size());
    const auto part = slice(bytes_, offset, out.size());
    if (!part) return invalid_input("the file ends");
    if (bad && *bad >= offset && *bad < offset + out.size()) return host_error("byte {}", *bad);
    std::ranges::copy(*part, out.begin());
    return {};
  }
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }

  mutable int reads = 0;
  mutable std::size_t most = 0;  // Bytes in one read.
  std::optional<std::uint64_t> bad;

 private:
  std::vector<std::byte> bytes_;
};

void expect_same(const File& file, const BlockReader& reader, std::uint64_t offset, std::size_t length) {
  std::vector<std::byte> expected(length);
  std::vector<std::byte> actual(length);
  const auto by_file = file.read_at(offset, expected);
  const auto by_reader = reader.read_at(offset, actual);
  EXPECT_EQ(by_file.has_value(), by_reader.has_value()) << offset << " " << length;
  if (by_file) {
    EXPECT_EQ(expected, actual) << offset << " " << length;
  }
}

TEST(BlockReader, GivesWhatTheFileGivesWhereverItIsRead) {
  const File file(3 * kBlock + 100);
  const BlockReader reader(file);
  EXPECT_EQ(reader.size(), file.size());
  for (const std::uint64_t offset :
       {std::uint64_t{0}, std::uint64_t{1}, kBlock - 1, kBlock, 2 * kBlock - 50, 3 * kBlock - 1, 3 * kBlock + 99,
        3 * kBlock + 100, 4 * kBlock, ~std::uint64_t{0} - 10}) {
    for (const std::size_t length :
         {std::size_t{0}, std::size_t{1}, std::size_t{100}, std::size_t{101}, kBlock - 1, kBlock, 2 * kBlock}) {
      expect_same(file, reader, offset, length);
    }
  }
}

TEST(BlockReader, ReadsABlockOnce) {
  const File file(2 * kBlock);
  const BlockReader reader(file);
  std::array<std::byte, 8> out;
  for (std::uint64_t offset = 0; offset + out.size() <= kBlock; offset += 8) ASSERT_TRUE(reader.read_at(offset, out));
  EXPECT_EQ(file.reads, 1);
}

TEST(BlockReader, AWholePageIsReadAloneUnlessItIsKept) {
  const File file(4 * kBlock);
  const BlockReader reader(file);
  std::vector<std::byte> page(kPageBytes);
  ASSERT_TRUE(reader.read_at(kBlock, page));
  EXPECT_EQ(file.most, kPageBytes);
  std::array<std::byte, 8> word;
  ASSERT_TRUE(reader.read_at(kBlock, word));
  EXPECT_EQ(file.reads, 2) << "the page was not kept";
  ASSERT_TRUE(reader.read_at(kBlock + kPageBytes, page));
  EXPECT_EQ(file.reads, 2) << "the block was";
  expect_same(file, reader, kBlock + kPageBytes, kPageBytes);
}

TEST(BlockReader, AByteThatCannotBeReadCostsOnlyItself) {
  File file(2 * kBlock);
  file.bad = 1000;
  const BlockReader reader(file);
  expect_same(file, reader, 0, 1000);
  expect_same(file, reader, 1001, 5000);
  expect_same(file, reader, 990, 20);
  expect_same(file, reader, kBlock - 8, 16);
}

TEST(BlockReader, KeepsSoMuchAndNoMore) {
  const File file((BlockReader::kMostBlocks + 3) * kBlock);
  const BlockReader reader(file);
  for (int pass = 0; pass < 2; ++pass) {
    for (std::uint64_t offset = 0; offset < file.size(); offset += kBlock / 2) expect_same(file, reader, offset, 64);
  }
}

}  // namespace
}  // namespace panicroom::vmcore
