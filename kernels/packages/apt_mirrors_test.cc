#include "kernels/packages/apt_mirrors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::kernels {
namespace {

using testing::ElementsAre;

TEST(AptMirrorsTest, TakesBothKindsInAptsOrder) {
  const auto mirrors = parse_mirrors(
      "'https://one.example/debian/dists/bookworm/InRelease' one.example_x_InRelease 0 \n"
      "'https://one.example/debian/dists/bookworm-updates/InRelease' x 0 \n"
      "'mirror+file:/etc/apt/list/dists/trixie/InRelease' x 0 \n"
      "'https://sec.example/dists/bookworm-security/InRelease' x 0 \n"
      "'https://one.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' x 0 \n");
  ASSERT_TRUE(mirrors) << mirrors.error().message();
  EXPECT_THAT(mirrors->archive, ElementsAre("https://one.example/debian", "mirror+file:/etc/apt/list"));
  EXPECT_THAT(mirrors->security, ElementsAre("https://sec.example"));
}

TEST(AptMirrorsTest, WithoutSecurityLooksBesideTheArchive) {
  const auto mirrors = parse_mirrors("'http://one.example/debian/dists/stable/InRelease' x 0 \n");
  ASSERT_TRUE(mirrors);
  EXPECT_THAT(mirrors->security, ElementsAre("http://one.example/debian-security"));
}

TEST(AptMirrorsTest, LeavesOutThirdPartiesMediaAndWhatCouldBreakASourcesLine) {
  const auto mirrors = parse_mirrors(
      "'https://third.example/dists/nodistro/InRelease' x 0\n"
      "'cdrom://[Debian]/dists/bookworm/InRelease' x 0\n"
      "'http://a b.example/debian/dists/bookworm/InRelease' x 0\n"
      "'http://[trusted=yes]/debian/dists/bookworm/InRelease' x 0\n"
      "'/dists/bookworm/InRelease' x 0\n"
      "'http://x/dists/InRelease' x 0\n"
      "nonsense\n''\n'\n");
  ASSERT_FALSE(mirrors);
  EXPECT_EQ(mirrors.error().kind(), ErrorKind::kHost);
  EXPECT_THAT(mirrors.error().message(), testing::HasSubstr("sources.list"));
}

TEST(AptMirrorsTest, ASuiteHasItsPocketsAndBackportsAreASuite) {
  const auto names = [](std::string_view suite) {
    std::vector<std::string> result;
    for (const auto& pocket : pockets_of(suite)) result.push_back(pocket.name);
    return result;
  };
  EXPECT_THAT(names("bookworm"), ElementsAre("bookworm", "bookworm-security", "bookworm-updates"));
  EXPECT_THAT(names("sid"), ElementsAre("sid"));
  EXPECT_THAT(names("trixie-backports"), ElementsAre("trixie-backports"));
  EXPECT_THAT(names("trixie-security"), ElementsAre("trixie-security"));
  EXPECT_TRUE(pockets_of("bookworm")[1].security);
  EXPECT_TRUE(pockets_of("trixie-security")[0].security);
  EXPECT_TRUE(pockets_of("bookworm")[0].required);
  EXPECT_FALSE(pockets_of("bookworm")[2].required);
}

}  // namespace
}  // namespace panicroom::kernels
