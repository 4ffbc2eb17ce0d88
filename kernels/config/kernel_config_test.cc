#include "kernels/config/kernel_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <vector>

namespace panicroom::kernels {
namespace {

using testing::HasSubstr;

std::string gzip(const std::string& text) {
  z_stream stream{};
  constexpr int kGzipWindow = 15 + 16;
  EXPECT_EQ(::deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(text.size() + 1000, '\0');
  std::string in = text;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

TEST(KernelConfigTest, ReadsEveryKindOfValue) {
  const auto config = KernelConfig::parse(
      "#\n# Automatically generated file; DO NOT EDIT.\n#\nCONFIG_KEXEC_FILE=y\nCONFIG_EXT4_FS=m\r\n"
      "# CONFIG_KEXEC_SIG is not set\nCONFIG_PHYSICAL_ALIGN=0x200000\nCONFIG_LOCALVERSION=\"-a=b\"\n\nCONFIG_OFF=n\n"
      "CONFIG_TWICE=1\nCONFIG_TWICE=2");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_TRUE(config->enabled("KEXEC_FILE"));
  EXPECT_TRUE(config->enabled("EXT4_FS"));
  EXPECT_FALSE(config->enabled("KEXEC_SIG"));
  EXPECT_EQ(config->value("KEXEC_SIG"), std::nullopt);
  EXPECT_EQ(config->value("OFF"), std::nullopt);
  EXPECT_EQ(config->value("PHYSICAL_ALIGN"), "0x200000");
  EXPECT_FALSE(config->enabled("PHYSICAL_ALIGN"));
  EXPECT_EQ(config->value("LOCALVERSION"), "-a=b");
  EXPECT_EQ(config->value("TWICE"), "2");
}

TEST(KernelConfigTest, SaysWhichLineIsNone) {
  for (const std::string line : {"<html>", "KEXEC=y", "CONFIG_=y", "CONFIG_A", "CONFIG_A B=y", "CONFIG_A=\x1b[2J"}) {
    const auto config = KernelConfig::parse("CONFIG_B=y\n" + line + "\n");
    ASSERT_FALSE(config) << line;
    EXPECT_THAT(config.error().message(), HasSubstr("line 2"));
  }
  EXPECT_FALSE(KernelConfig::parse(""));
  EXPECT_FALSE(KernelConfig::parse("# nothing but a comment\n"));
}

TEST(EmbeddedConfigTest, IsFoundBehindItsMarker) {
  const std::string text = "CONFIG_KEXEC_FILE=y\n";
  const std::string image =
      std::string(5000, 'x') + "IKCFG_ST is a marker" + "IKCFG_ST" + gzip(text) + "IKCFG_ED" + "more";
  const auto config = embedded_config(as_bytes(image));
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(*config, text);
}

TEST(EmbeddedConfigTest, NoneIsNoError) {
  const auto config = embedded_config(as_bytes("IKCFG_ST without gzip, IKCFG_S"));
  ASSERT_TRUE(config);
  EXPECT_EQ(*config, std::nullopt);
  EXPECT_EQ(*embedded_config({}), std::nullopt);
  EXPECT_EQ(*embedded_config(as_bytes("IKCFG_ST")), std::nullopt);
}

TEST(EmbeddedConfigTest, ABrokenOneIs) {
  const auto packed = gzip("CONFIG_KEXEC_FILE=y\n");
  const auto config = embedded_config(as_bytes("IKCFG_ST" + packed.substr(0, packed.size() / 2)));
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message(), HasSubstr("the configuration in the image"));
  // A bomb: 8 MB of one letter.
  EXPECT_FALSE(embedded_config(as_bytes("IKCFG_ST" + gzip(std::string(std::size_t{8} << 20, 'a')))));
}

}  // namespace
}  // namespace panicroom::kernels
