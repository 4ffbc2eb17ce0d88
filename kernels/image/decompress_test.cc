#include "kernels/image/decompress.h"

#include <gmock/gmock.h>

#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include "kernels/image/synthetic_kernel.h"

namespace panicroom::kernels {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Compressible, but with pieces that are not, and longer than one block of every format (lz4: 8 MiB).
std::vector<std::byte> sample(std::size_t size) {
  std::mt19937 random(42);
  std::vector<std::byte> content(size);
  for (std::size_t i = 0; i < size; ++i) {
    const bool noise = i / 300'000 % 4 == 1;
    content[i] = static_cast<std::byte>(noise ? random() : i / 7);
  }
  return content;
}

class Decompress : public ::testing::TestWithParam<Compression> {
 protected:
  [[nodiscard]] static std::string name() { return std::string(compression_name(GetParam())); }
};

TEST_P(Decompress, GivesBackWhatTheKernelBuildPacked) {
  const auto content = sample(GetParam() == Compression::kLz4 ? 9'000'000 : 700'000);
  const auto packed = testing::compress(GetParam(), content);
  EXPECT_EQ(detect_compression(packed), GetParam());
  const auto unpacked = decompress(packed, content.size());
  ASSERT_TRUE(unpacked) << unpacked.error().message();
  EXPECT_TRUE(*unpacked == content);
}

TEST_P(Decompress, UnpacksAnEmptyFile) {
  const auto unpacked = decompress(testing::compress(GetParam(), {}), 0);
  ASSERT_TRUE(unpacked) << unpacked.error().message();
  EXPECT_TRUE(unpacked->empty());
}

TEST_P(Decompress, StopsAtTheLimit) {
  const std::vector<std::byte> zeros(20'000'000);
  const auto unpacked = decompress(testing::compress(GetParam(), zeros), zeros.size() - 1);
  ASSERT_FALSE(unpacked);
  EXPECT_EQ(unpacked.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_EQ(unpacked.error().message(), name() + ": unpacks to more than 19999999 bytes");
}

TEST_P(Decompress, NamesTheCompressionOfATruncatedPayload) {
  const auto packed = testing::compress(GetParam(), sample(700'000));
  for (const std::size_t size : {packed.size() / 2, packed.size() - 100, std::size_t{20}}) {
    const auto unpacked = decompress(Bytes(packed).first(size), 1'000'000);
    ASSERT_FALSE(unpacked) << size;
    EXPECT_EQ(unpacked.error().kind(), ErrorKind::kInvalidInput);
    EXPECT_THAT(unpacked.error().message(), AllOf(StartsWith(name() + ": "), HasSubstr("truncated"))) << size;
  }
}

TEST_P(Decompress, NeverTakesADamagedPayloadForTheWhole) {
  const auto content = sample(100'000);
  const auto packed = testing::compress(GetParam(), content);
  std::mt19937 random(7);
  for (int i = 0; i < 100; ++i) {
    auto damaged = packed;
    // Behind every format's magic and header: those bytes may be of no consequence (a time stamp).
    const std::size_t at = 64 + random() % (packed.size() - 64);
    damaged[at] ^= static_cast<std::byte>(1U << random() % 8);
    const auto unpacked = decompress(damaged, 1'000'000);
    if (unpacked) {
      // lz4 and lzma have no checksum: there, but only there, damage within a literal goes unseen.
      EXPECT_TRUE(GetParam() == Compression::kLz4 || GetParam() == Compression::kLzma || *unpacked == content) << at;
      EXPECT_EQ(unpacked->size(), content.size()) << at;
    } else {
      EXPECT_THAT(unpacked.error().message(), StartsWith(name() + ": "));
    }
  }
}

TEST_P(Decompress, ChecksTheAppendedSize) {
  auto packed = testing::compress(GetParam(), sample(1000));
  packed.back() ^= std::byte{1};
  EXPECT_FALSE(decompress(packed, 100'000));
}

TEST_P(Decompress, TakesAPayloadWithoutAnAppendedSize) {
  const auto content = sample(1000);
  auto packed = testing::compress(GetParam(), content);
  if (GetParam() != Compression::kGzip) packed.resize(packed.size() - 4);
  const auto unpacked = decompress(packed, 100'000);
  ASSERT_TRUE(unpacked) << unpacked.error().message();
  EXPECT_TRUE(*unpacked == content);
}

INSTANTIATE_TEST_SUITE_P(EveryCompression, Decompress,
                         ::testing::Values(Compression::kGzip, Compression::kXz, Compression::kLzma, Compression::kZstd,
                                           Compression::kLz4, Compression::kBzip2, Compression::kLzo),
                         [](const auto& param_info) { return std::string(compression_name(param_info.param)); });

TEST(DecompressUnknown, SaysWhatItSaw) {
  const auto unpacked = decompress(as_bytes("PK\x03\x04"), 100);
  ASSERT_FALSE(unpacked);
  EXPECT_EQ(unpacked.error().message(), "no known compression: it begins with 50 4b 03 04");
  EXPECT_FALSE(decompress({}, 100));
}

TEST(DecompressLzo, ChecksTheHeader) {
  auto packed = testing::compress(Compression::kLzo, sample(1000));
  packed[20] ^= std::byte{1};
  const auto unpacked = decompress(packed, 100'000);
  ASSERT_FALSE(unpacked);
  EXPECT_THAT(unpacked.error().message(), HasSubstr("header's checksum"));
}

}  // namespace
}  // namespace panicroom::kernels
