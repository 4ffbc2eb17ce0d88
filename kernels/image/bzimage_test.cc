#include "kernels/image/bzimage.h"

#include <elf.h>
#include <gmock/gmock.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/image/synthetic_kernel.h"

namespace panicroom::kernels {
namespace {

using ::testing::HasSubstr;

constexpr const char* kVersion = "6.1.0-test-amd64 (tester@example.org) #1 SMP";

std::vector<std::byte> tiny_elf() { return testing::build_elf({{".text", 0x1000, SHF_ALLOC, {std::byte{0xc3}}}}); }

std::vector<std::byte> sample_bzimage() {
  return testing::build_bzimage(testing::compress(Compression::kZstd, tiny_elf()), kVersion);
}

std::vector<std::byte> file_of(std::string_view text) {
  const Bytes bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

std::string message_for(std::vector<std::byte> file) {
  const auto kernel = unpack_kernel(std::move(file));
  return kernel ? "no error" : kernel.error().message();
}

TEST(SetupHeader, IsReadFromABzImage) {
  const auto file = sample_bzimage();
  const auto header = parse_setup_header(file);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->protocol, 0x020f);
  EXPECT_EQ(header->xloadflags, 0x7f);
  EXPECT_EQ(header->kernel_alignment, 0x200000U);
  EXPECT_EQ(header->init_size, 0x3000000U);
  EXPECT_EQ(header->payload_begin, 4U * 512 + 0x80);
  EXPECT_EQ(header->payload_end, file.size() - 64);
  EXPECT_EQ(header->kernel_version, kVersion);
}

TEST(SetupHeader, TakesZeroSetupSectorsForFour) {
  auto file = sample_bzimage();
  file.resize(file.size() + 512);
  file[0x1f1] = std::byte{0};
  const auto header = parse_setup_header(file);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->payload_begin, 5U * 512 + 0x80);
}

TEST(UnpackKernel, TakesEveryKindOfFile) {
  const auto elf = tiny_elf();
  for (const Compression compression :
       {Compression::kNone, Compression::kGzip, Compression::kXz, Compression::kLzma, Compression::kZstd,
        Compression::kLz4, Compression::kBzip2, Compression::kLzo}) {
    const auto packed = testing::compress(compression, elf);
    for (const bool wrapped : {false, true}) {
      const auto kernel = unpack_kernel(wrapped ? testing::build_bzimage(packed, kVersion) : packed);
      ASSERT_TRUE(kernel) << compression_name(compression) << ": " << kernel.error().message();
      EXPECT_EQ(kernel->compression, compression);
      EXPECT_TRUE(kernel->elf == elf);
      EXPECT_EQ(kernel->setup.has_value(), wrapped);
    }
  }
}

TEST(UnpackKernel, SaysWhereATruncatedFileEnds) {
  auto file = sample_bzimage();
  const std::size_t payload_end = file.size() - 64;
  file.resize(payload_end - 10);
  EXPECT_EQ(message_for(file),
            fmt::format("truncated: payload ends at {} but the file has {} bytes", payload_end, payload_end - 10));
  file.resize(0x230);
  EXPECT_EQ(message_for(file), "truncated: the setup header ends at 0x26c but the file has 0x230 bytes");
}

TEST(UnpackKernel, NeverFailsOtherwiseThanByAnErrorWhereverTheFileEnds) {
  const auto file = sample_bzimage();
  for (std::size_t size = 0; size + 64 < file.size(); ++size) {
    EXPECT_FALSE(unpack_kernel({file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)})) << size;
  }
}

TEST(UnpackKernel, SaysWhatIsWrongWithTheSetupHeader) {
  auto old = sample_bzimage();
  old[0x206] = std::byte{0x07};
  EXPECT_THAT(message_for(old), HasSubstr("boot protocol 2.07"));
  auto narrow = sample_bzimage();
  narrow[0x236] = std::byte{0};
  EXPECT_EQ(message_for(narrow), "unsupported architecture: a 32-bit x86 kernel");
  auto empty = sample_bzimage();
  std::memset(empty.data() + 0x24c, 0, 4);
  EXPECT_THAT(message_for(empty), HasSubstr("no payload"));
  auto short_header = sample_bzimage();
  short_header[0x201] = std::byte{0x20};
  EXPECT_THAT(message_for(short_header), HasSubstr("before its payload_length"));
  auto low = sample_bzimage();
  low[0x211] = std::byte{0};
  EXPECT_THAT(message_for(low), HasSubstr("zImage"));
}

TEST(UnpackKernel, IgnoresAVersionThatIsNotText) {
  auto file = sample_bzimage();
  file[0x404] = std::byte{0xff};
  const auto header = parse_setup_header(file);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->kernel_version, "");
}

TEST(UnpackKernel, SaysThatAPayloadIsNotElf) {
  const auto packed = testing::compress(Compression::kXz, as_bytes("no ELF at all"));
  EXPECT_EQ(message_for(testing::build_bzimage(packed, kVersion)), "payload: xz: unpacks to something that is not ELF");
  EXPECT_EQ(message_for(testing::compress(Compression::kGzip, as_bytes("no ELF at all"))),
            "unpacked from gzip: a text file, not a kernel");
  const std::vector<std::byte> garbage(100, std::byte{0xee});
  EXPECT_EQ(message_for(testing::build_bzimage(garbage, kVersion)),
            "payload: no known compression: it begins with ee ee ee ee ee ee ee ee");
}

TEST(UnpackKernel, NamesWhatIsNoKernelOfOurs) {
  EXPECT_EQ(message_for({}), "the file is empty");
  EXPECT_EQ(message_for(file_of("<html><body>404 Not Found</body></html>\n")), "a text file, not a kernel");
  EXPECT_THAT(message_for(file_of("!<arch>\ndebian-binary")), HasSubstr("Debian package"));
  EXPECT_THAT(message_for(file_of(std::string_view("070701\0\0\0\0", 10))), HasSubstr("cpio"));
  std::vector<std::byte> image(1024, std::byte{0});
  EXPECT_EQ(message_for(image), "neither a bzImage (no HdrS at 0x202) nor an ELF file");
  image.resize(100);
  EXPECT_EQ(message_for(image), "truncated: 100 bytes, too short for a kernel's header");
  image.resize(1024);
  std::memcpy(image.data() + 0x38, "ARM\x64", 4);
  EXPECT_EQ(message_for(image), "unsupported architecture: an arm64 Image");
  EXPECT_EQ(unpack_kernel(image).error().kind(), ErrorKind::kUnsupported);
}

TEST(UnpackKernel, BoundsWhatItUnpacks) {
  std::vector<std::byte> elf = tiny_elf();
  elf.resize(1'000'000);
  const auto kernel = unpack_kernel(testing::compress(Compression::kXz, elf), 100'000);
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().message(), "payload: xz: unpacks to more than 100000 bytes");
}

}  // namespace
}  // namespace panicroom::kernels
