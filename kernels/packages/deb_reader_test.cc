#include "kernels/packages/deb_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/file.h"
#include "kernels/packages/synthetic_deb.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Collector : public DebVisitor {
 public:
  Result<bool> entry(const DebEntry& entry) override {
    last_ = entry.path;
    if (entry.type == DebEntry::Type::kOther) others.push_back(entry.path);
    if (entry.type == DebEntry::Type::kFile) files[last_];
    return true;
  }
  Result<> content(Bytes chunk) override {
    files[last_] += as_text(chunk);
    return {};
  }
  std::map<std::string, std::string> files;
  std::vector<std::string> others;

 private:
  std::string last_;
};

const std::vector<SyntheticEntry> kKernelPackage = {
    {"./", "", "", true},
    {"./boot/", "", "", true},
    {"./boot/vmlinuz-6.1.0-1-amd64", std::string(200'000, 'k'), "", false},
    {"./lib/modules/6.1.0-1-amd64/kernel/a.ko", "module", "", false},
    {"./lib/modules/6.1.0-1-amd64/build", "", "/etc", false},
    {"./usr/share/doc/copyright", "text", "", false},
};

class DebReaderTest : public testing::Test {
 protected:
  fs::path write_deb(const std::vector<std::byte>& bytes) {
    const auto path = folder_ / "p.deb";
    EXPECT_TRUE(write_file(path, bytes));
    return path;
  }
  void SetUp() override {
    auto name = (fs::temp_directory_path() / "panicroom-deb-XXXXXX").native();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    fs::create_directories(folder_ / "out");
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

class DebCompressionTest : public testing::TestWithParam<DebCompression> {};

TEST_P(DebCompressionTest, GivesEveryFileWhole) {
  Collector collector;
  const auto deb = make_deb(kKernelPackage, GetParam());
  const auto result = read_deb(Bytes(deb), collector);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(collector.files.size(), 3U);
  EXPECT_EQ(collector.files["boot/vmlinuz-6.1.0-1-amd64"], std::string(200'000, 'k'));
  EXPECT_EQ(collector.files["lib/modules/6.1.0-1-amd64/kernel/a.ko"], "module");
  EXPECT_THAT(collector.others, testing::ElementsAre("lib/modules/6.1.0-1-amd64/build"));
}

TEST_P(DebCompressionTest, EveryTruncationIsNoticed) {
  // Incompressible, so that the package is mostly content whatever the compression.
  std::string noise;
  for (unsigned x = 1; noise.size() < 3000; x = x * 1664525U + 1013904223U) noise += static_cast<char>(x >> 24U);
  const auto deb = make_deb({{"boot/vmlinuz-1", noise, "", false}}, GetParam());
  Collector whole;
  ASSERT_TRUE(read_deb(Bytes(deb), whole));
  // ar pads a member of odd size with one byte, which is nobody's content.
  for (std::size_t length = 0; length + 1 < deb.size(); ++length) {
    Collector collector;
    const auto result = read_deb(Bytes(deb).first(length), collector);
    ASSERT_FALSE(result) << "cut to " << length << " of " << deb.size() << " bytes";
    ASSERT_EQ(result.error().kind(), ErrorKind::kInvalidInput);
  }
}

INSTANTIATE_TEST_SUITE_P(All, DebCompressionTest,
                         testing::Values(DebCompression::kNone, DebCompression::kGzip, DebCompression::kXz,
                                         DebCompression::kZstd));

TEST_F(DebReaderTest, UnpacksOnlyTheWantedFilesAndNoLinks) {
  const auto result = unpack_deb(write_deb(make_deb(kKernelPackage)), folder_ / "out", {"boot/", "lib/modules/"});
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(fs::file_size(folder_ / "out/boot/vmlinuz-6.1.0-1-amd64"), 200'000U);
  EXPECT_EQ(*read_text_file(folder_ / "out/lib/modules/6.1.0-1-amd64/kernel/a.ko"), "module");
  EXPECT_FALSE(fs::exists(fs::symlink_status(folder_ / "out/lib/modules/6.1.0-1-amd64/build")));
  EXPECT_FALSE(fs::exists(folder_ / "out/usr"));
}

TEST_F(DebReaderTest, RejectsPathsThatLeadOut) {
  for (const std::string path : {"../escaped", "/tmp/escaped", "boot/../../escaped", "./boot/..", ".."}) {
    const auto deb = write_deb(make_deb({{path, "x", "", false}}));
    const auto result = unpack_deb(deb, folder_ / "out", {""});
    ASSERT_FALSE(result) << path;
    EXPECT_THAT(result.error().message(), HasSubstr("leads out of the package"));
    EXPECT_THAT(result.error().message(), HasSubstr(deb.native()));
  }
  EXPECT_FALSE(fs::exists(folder_ / "escaped"));
}

TEST_F(DebReaderTest, ALinkedFolderCannotRedirectAFile) {
  const auto outside = folder_ / "outside";
  fs::create_directories(outside);
  const auto deb = write_deb(make_deb({{"boot", "", outside.native(), false}, {"boot/vmlinuz-1", "x", "", false}}));
  ASSERT_TRUE(unpack_deb(deb, folder_ / "out", {"boot"}));
  EXPECT_TRUE(fs::is_empty(outside));
  EXPECT_EQ(*read_text_file(folder_ / "out/boot/vmlinuz-1"), "x");
}

TEST_F(DebReaderTest, TheSamePathTwiceIsAnError) {
  const auto deb = write_deb(make_deb({{"boot/a", "1", "", false}, {"boot/./a", "2", "", false}}));
  const auto result = unpack_deb(deb, folder_ / "out", {"boot/"});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("twice"));
}

TEST_F(DebReaderTest, AFileThatIsAlsoAFolderIsAnError) {
  const auto deb = write_deb(make_deb({{"boot/a", "1", "", false}, {"boot/a/b", "2", "", false}}));
  EXPECT_FALSE(unpack_deb(deb, folder_ / "out", {"boot/"}));
}

TEST_F(DebReaderTest, LimitsHold) {
  Collector collector;
  const auto deb = make_deb(kKernelPackage);
  DebLimits few_bytes;
  few_bytes.max_bytes = 199'999;
  auto result = read_deb(Bytes(deb), collector, few_bytes);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("more than 199999 bytes"));
  DebLimits few_entries;
  few_entries.max_entries = 5;
  result = read_deb(Bytes(deb), collector, few_entries);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("more than 5 entries"));
}

TEST_F(DebReaderTest, SaysWhatIsNotAPackage) {
  Collector collector;
  const auto error_of = [&](const std::vector<std::byte>& bytes) {
    const auto result = read_deb(Bytes(bytes), collector);
    return result ? std::string("accepted") : result.error().message();
  };
  const auto text = as_bytes("<!DOCTYPE html><html>404</html>");
  const auto version = as_bytes("2.0\n");
  const std::vector<std::byte> two(version.begin(), version.end());
  EXPECT_THAT(error_of({text.begin(), text.end()}), HasSubstr("not a Debian package"));
  EXPECT_THAT(error_of(make_ar({{"other", two}})), HasSubstr("debian-binary"));
  EXPECT_THAT(error_of(make_ar({{"debian-binary", two}})), HasSubstr("no data.tar"));
  const auto tar = make_data_tar({{"a", "b", "", false}}, DebCompression::kNone);
  EXPECT_THAT(error_of(make_ar({{"debian-binary", two}, {"data.tar", tar}, {"data.tar.xz", tar}})),
              HasSubstr("two data.tar"));
  EXPECT_THAT(error_of(make_ar({{"debian-binary", two}, {"data.tar", {text.begin(), text.end()}}})),
              HasSubstr("data.tar"));
}

TEST_F(DebReaderTest, AMissingFileIsNamed) {
  Collector collector;
  const auto result = read_deb(folder_ / "absent.deb", collector);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("absent.deb"));
}

}  // namespace
}  // namespace panicroom::kernels
