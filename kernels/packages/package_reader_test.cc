#include "kernels/packages/package_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <tuple>

#include "base/file.h"
#include "base/testing/temporary_directory.h"
#include "kernels/packages/synthetic_package.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Collector : public PackageVisitor {
 public:
  Result<bool> entry(const PackageEntry& entry) override {
    last_ = entry.path;
    if (entry.type == PackageEntry::Type::kOther) others.push_back(entry.path);
    if (entry.type == PackageEntry::Type::kFile) files[last_];
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

class PackageReaderTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  const fs::path folder_ = directory_.path();

  fs::path write_package(const std::vector<std::byte>& bytes) {
    auto path = folder_ / "p";
    EXPECT_TRUE(write_file(path, bytes));
    return path;
  }
  void SetUp() override { fs::create_directories(folder_ / "out"); }
};

using Maker = std::vector<std::byte> (*)(const std::vector<SyntheticEntry>&, PackageCompression);

class EveryPackageTest : public testing::TestWithParam<std::tuple<Maker, PackageCompression>> {
 protected:
  static std::vector<std::byte> make(const std::vector<SyntheticEntry>& entries) {
    return std::get<Maker>(GetParam())(entries, std::get<PackageCompression>(GetParam()));
  }
};

TEST_P(EveryPackageTest, GivesEveryFileWhole) {
  Collector collector;
  const auto package = make(kKernelPackage);
  const auto result = read_package(Bytes(package), collector);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(collector.files.size(), 3U);
  EXPECT_EQ(collector.files["boot/vmlinuz-6.1.0-1-amd64"], std::string(200'000, 'k'));
  EXPECT_EQ(collector.files["lib/modules/6.1.0-1-amd64/kernel/a.ko"], "module");
  EXPECT_THAT(collector.others, testing::ElementsAre("lib/modules/6.1.0-1-amd64/build"));
}

TEST_P(EveryPackageTest, EveryTruncationIsNoticed) {
  // Incompressible, so that the package is mostly content whatever the compression.
  std::string noise;
  for (unsigned x = 1; noise.size() < 3000; x = x * 1664525U + 1013904223U) noise += static_cast<char>(x >> 24U);
  const auto package = make({{"boot/vmlinuz-1", noise, "", false}});
  Collector whole;
  ASSERT_TRUE(read_package(Bytes(package), whole));
  // ar pads a member of odd size with one byte, which is nobody's content.
  for (std::size_t length = 0; length + 1 < package.size(); ++length) {
    Collector collector;
    const auto result = read_package(Bytes(package).first(length), collector);
    ASSERT_FALSE(result) << "cut to " << length << " of " << package.size() << " bytes";
    ASSERT_EQ(result.error().kind(), ErrorKind::kInvalidInput);
  }
}

TEST_P(EveryPackageTest, PathsThatLeadOutAreRejected) {
  for (const std::string path : {"../escaped", "/tmp/escaped", "boot/../../escaped", "./boot/..", ".."}) {
    Collector collector;
    const auto result = read_package(Bytes(make({{path, "x", "", false}})), collector);
    ASSERT_FALSE(result) << path;
    EXPECT_THAT(result.error().message(), HasSubstr("leads out of the package"));
  }
}

TEST_P(EveryPackageTest, LimitsHold) {
  Collector collector;
  const auto package = make(kKernelPackage);
  PackageLimits few_bytes;
  few_bytes.max_bytes = 199'999;
  auto result = read_package(Bytes(package), collector, few_bytes);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("more than 199999 bytes"));
  PackageLimits few_entries;
  few_entries.max_entries = 5;
  result = read_package(Bytes(package), collector, few_entries);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("more than 5 entries"));
}

INSTANTIATE_TEST_SUITE_P(All, EveryPackageTest,
                         testing::Combine(testing::Values(&make_deb, &make_rpm),
                                          testing::Values(PackageCompression::kNone, PackageCompression::kGzip,
                                                          PackageCompression::kXz, PackageCompression::kZstd)));

TEST_F(PackageReaderTest, UnpacksOnlyTheWantedFilesAndNoLinks) {
  const auto result =
      unpack_package(write_package(make_deb(kKernelPackage)), folder_ / "out", {"boot/", "lib/modules/"});
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(fs::file_size(folder_ / "out/boot/vmlinuz-6.1.0-1-amd64"), 200'000U);
  EXPECT_EQ(*read_text_file(folder_ / "out/lib/modules/6.1.0-1-amd64/kernel/a.ko"), "module");
  EXPECT_FALSE(fs::exists(fs::symlink_status(folder_ / "out/lib/modules/6.1.0-1-amd64/build")));
  EXPECT_FALSE(fs::exists(folder_ / "out/usr"));
}

TEST_F(PackageReaderTest, RejectsPathsThatLeadOut) {
  for (const std::string path : {"../escaped", "/tmp/escaped", "boot/../../escaped", "./boot/..", ".."}) {
    const auto deb = write_package(make_deb({{path, "x", "", false}}));
    const auto result = unpack_package(deb, folder_ / "out", {""});
    ASSERT_FALSE(result) << path;
    EXPECT_THAT(result.error().message(), HasSubstr("leads out of the package"));
    EXPECT_THAT(result.error().message(), HasSubstr(deb.native()));
  }
  EXPECT_FALSE(fs::exists(folder_ / "escaped"));
}

TEST_F(PackageReaderTest, ALinkedFolderCannotRedirectAFile) {
  const auto outside = folder_ / "outside";
  fs::create_directories(outside);
  const auto deb = write_package(make_deb({{"boot", "", outside.native(), false}, {"boot/vmlinuz-1", "x", "", false}}));
  ASSERT_TRUE(unpack_package(deb, folder_ / "out", {"boot"}));
  EXPECT_TRUE(fs::is_empty(outside));
  EXPECT_EQ(*read_text_file(folder_ / "out/boot/vmlinuz-1"), "x");
}

TEST_F(PackageReaderTest, TheSamePathTwiceIsAnError) {
  const auto deb = write_package(make_deb({{"boot/a", "1", "", false}, {"boot/./a", "2", "", false}}));
  const auto result = unpack_package(deb, folder_ / "out", {"boot/"});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("twice"));
}

TEST_F(PackageReaderTest, AFileThatIsAlsoAFolderIsAnError) {
  const auto deb = write_package(make_deb({{"boot/a", "1", "", false}, {"boot/a/b", "2", "", false}}));
  EXPECT_FALSE(unpack_package(deb, folder_ / "out", {"boot/"}));
}

TEST_F(PackageReaderTest, SaysWhatIsNotAPackage) {
  Collector collector;
  const auto error_of = [&](const std::vector<std::byte>& bytes) {
    const auto result = read_package(Bytes(bytes), collector);
    return result ? std::string("accepted") : result.error().message();
  };
  const auto text = as_bytes("<!DOCTYPE html><html>404</html>");
  const auto version = as_bytes("2.0\n");
  const std::vector<std::byte> two(version.begin(), version.end());
  EXPECT_THAT(error_of({text.begin(), text.end()}), HasSubstr("neither a Debian package nor an RPM"));
  EXPECT_THAT(error_of(make_ar({{"other", two}})), HasSubstr("debian-binary"));
  EXPECT_THAT(error_of(make_ar({{"debian-binary", two}})), HasSubstr("no data.tar"));
  const auto tar = make_data_tar({{"a", "b", "", false}}, PackageCompression::kNone);
  EXPECT_THAT(error_of(make_ar({{"debian-binary", two}, {"data.tar", tar}, {"data.tar.xz", tar}})),
              HasSubstr("two data.tar"));
  EXPECT_THAT(error_of(make_ar({{"debian-binary", two}, {"data.tar", {text.begin(), text.end()}}})),
              HasSubstr("data.tar"));
}

TEST_F(PackageReaderTest, UnpacksAnRpmFromAFile) {
  const auto rpm = write_package(make_rpm(kKernelPackage));
  const auto result = unpack_package(rpm, folder_ / "out", {"boot/", "lib/modules/"});
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(fs::file_size(folder_ / "out/boot/vmlinuz-6.1.0-1-amd64"), 200'000U);
  EXPECT_FALSE(fs::exists(fs::symlink_status(folder_ / "out/lib/modules/6.1.0-1-amd64/build")));
  EXPECT_FALSE(fs::exists(folder_ / "out/usr"));
}

TEST_F(PackageReaderTest, SaysWhatIsWrongWithAnRpm) {
  Collector collector;
  const auto error_of = [&](const std::vector<std::byte>& bytes) {
    const auto result = read_package(Bytes(bytes), collector);
    return result ? Error(ErrorKind::kCancelled, "accepted") : result.error();
  };
  const auto cpio = make_cpio(kKernelPackage, PackageCompression::kGzip);
  const auto foreign = error_of(make_rpm_around(cpio, "aarch64"));
  EXPECT_EQ(foreign.kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(foreign.message(), HasSubstr("an RPM for aarch64, not x86_64"));

  auto rpm = make_rpm_around(cpio);
  auto cut = rpm;
  cut.resize(rpm.size() - 100);
  EXPECT_THAT(error_of(cut).message(),
              HasSubstr(fmt::format("truncated: {} of the RPM's {} bytes are there", cut.size(), rpm.size())));
  cut.resize(120);
  EXPECT_THAT(error_of(cut).message(), HasSubstr("ends within the RPM's headers"));

  auto source = rpm;
  source[7] = std::byte{1};
  EXPECT_THAT(error_of(source).message(), HasSubstr("source RPM"));
  auto headless = rpm;
  headless[96] = std::byte{0};
  EXPECT_THAT(error_of(headless).message(), HasSubstr("there is no header at 0x60"));
  const auto noise = as_bytes("neither compressed nor cpio");
  EXPECT_THAT(error_of(make_rpm_around({noise.begin(), noise.end()})).message(), HasSubstr("the RPM's payload"));
}

TEST_F(PackageReaderTest, AnRpmThatDoesNotTellItsSizeIsReadToItsArchivesEnd) {
  const auto cpio = make_cpio(kKernelPackage, PackageCompression::kXz);
  Collector whole;
  ASSERT_TRUE(read_package(Bytes(make_rpm_around(cpio, "x86_64", false)), whole));
  EXPECT_EQ(whole.files.size(), 3U);
  auto half = cpio;
  half.resize(cpio.size() / 2);
  Collector collector;
  EXPECT_FALSE(read_package(Bytes(make_rpm_around(half, "x86_64", false)), collector));
}

TEST_F(PackageReaderTest, AMissingFileIsNamed) {
  Collector collector;
  const auto result = read_package(folder_ / "absent.deb", collector);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("absent.deb"));
}

}  // namespace
}  // namespace panicroom::kernels
