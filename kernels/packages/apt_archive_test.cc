#include "kernels/packages/apt_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/temporary_directory.h"

namespace panicroom::kernels {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kTwoVersions =
    "Package: linux-image-cloud-amd64\n"
    "Version: 6.1.190-1\n"
    "Depends: linux-image-6.1.0-55-cloud-amd64 (= 6.1.190-1)\n"
    "Size: 1500\n"
    "\n"
    "Package: linux-image-cloud-amd64\n"
    "Version: 6.1.192-1\n"
    "Pre-Depends: first:any\n"
    "Depends: linux-base-cloud-amd64 (= 1) | other,\n linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-1)\n"
    "Description: text\n more text\n"
    "Size: 1508\n"
    "\n"
    "Package: linux-image-cloud-amd64-dbg\n"
    "Version: 9\n"
    "\n";

TEST(AptShowTest, ReadsEveryStanzaOfThePackageAndNoOther) {
  const auto records = parse_show(kTwoVersions, "linux-image-cloud-amd64", "bookworm");
  ASSERT_TRUE(records) << records.error().message();
  ASSERT_EQ(records->size(), 2U);
  EXPECT_EQ((*records)[0].version, "6.1.190-1");
  EXPECT_EQ((*records)[1].version, "6.1.192-1");
  EXPECT_EQ((*records)[1].bytes, 1508U);
  EXPECT_EQ((*records)[1].pocket, "bookworm");
  EXPECT_THAT((*records)[1].depends,
              ElementsAre("first", "linux-base-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64"));
}

TEST(AptShowTest, AVersionThatIsNoneIsLeftOut) {
  const auto records =
      parse_show("Package: p\nVersion: ../../x\n\nPackage: p\n\nPackage: p\nVersion: 1_2\n", "p", "sid");
  ASSERT_TRUE(records);
  EXPECT_THAT(*records, IsEmpty());
}

TEST(AptShowTest, EmptyAndOddOutput) {
  EXPECT_THAT(*parse_show("", "p", "sid"), IsEmpty());
  EXPECT_THAT(*parse_show("\n\n\n", "p", "sid"), IsEmpty());
  const auto odd = parse_show(": no field\n\n", "p", "sid");
  EXPECT_TRUE(!odd || odd->empty());
}

TEST(AptArchiveTest, NamesAreCheckedBeforeAptSeesThem) {
  AptArchive archive("/nonexistent/state", AptMirrors{{"http://one.example"}, {}});
  for (const std::string name : {"-o", "../x", "a b", ""}) {
    EXPECT_FALSE(archive.find(name, "linux-image-amd64", Lists::kCached, nullptr)) << name;
    EXPECT_FALSE(archive.find("sid", name, Lists::kCached, nullptr)) << name;
  }
}

TEST(AptArchiveTest, WithoutListsTheCacheHasNothing) {
  AptArchive archive("/nonexistent/state", AptMirrors{{"http://one.example"}, {}});
  const auto found = archive.find("bookworm", "linux-image-amd64", Lists::kCached, nullptr);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_THAT(*found, IsEmpty());
}

// A mirror that is a folder without an archive in it: apt itself says that there is nothing.
TEST(AptArchiveTest, AMirrorWithoutTheSuiteIsSaidSo) {
  const TemporaryDirectory directory;
  const auto& folder = directory.path();
  std::filesystem::create_directories(folder / "mirror");
  AptArchive archive(folder / "state", AptMirrors{{"file:" + (folder / "mirror").native()}, {}});
  const auto found = archive.find("nosuchsuite-backports", "linux-image-amd64", Lists::kFresh, nullptr);
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message(), HasSubstr("no suite 'nosuchsuite-backports'"));
}

// Nobody listens on the discard port of the loopback device: the network as it is on a train.
TEST(AptArchiveTest, AMirrorThatDoesNotAnswerIsTheHostsFault) {
  const TemporaryDirectory directory;
  AptArchive archive(directory.path(),
                     AptMirrors{{"http://127.0.0.1:9/debian"}, {"http://127.0.0.1:9/debian-security"}});
  const auto found = archive.find("sid", "linux-image-amd64", Lists::kFresh, nullptr);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind(), ErrorKind::kHost);
  EXPECT_THAT(found.error().message(), HasSubstr("cannot update the package lists of sid"));
}

}  // namespace
}  // namespace panicroom::kernels
