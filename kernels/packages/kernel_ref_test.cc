#include "kernels/packages/kernel_ref.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace panicroom::kernels {
namespace {

using testing::HasSubstr;

KernelRef::Target target_of(std::string_view text) {
  const auto ref = KernelRef::parse(text);
  EXPECT_TRUE(ref) << text << ": " << ref.error().message();
  if (!ref) return {};
  EXPECT_EQ(ref->text(), text);
  return ref->target();
}

TEST(KernelRefTest, ReadsEveryForm) {
  EXPECT_EQ(target_of("host"), KernelRef::Target(HostKernel{}));
  EXPECT_EQ(target_of("debian:trixie/cloud-amd64"), KernelRef::Target(DebianSuiteKernel{"trixie", "cloud-amd64"}));
  EXPECT_EQ(target_of("debian:bookworm-backports/amd64"),
            KernelRef::Target(DebianSuiteKernel{"bookworm-backports", "amd64"}));
  EXPECT_EQ(target_of("debian:6.1.0-50-rt-amd64"), KernelRef::Target(DebianReleaseKernel{"6.1.0-50-rt-amd64"}));
  EXPECT_EQ(target_of("debian:7.2.13+deb14-cloud-amd64"),
            KernelRef::Target(DebianReleaseKernel{"7.2.13+deb14-cloud-amd64"}));
  EXPECT_EQ(target_of("debian:7.3~rc4-amd64"), KernelRef::Target(DebianReleaseKernel{"7.3~rc4-amd64"}));
  EXPECT_EQ(target_of("/boot/vmlinuz"), KernelRef::Target(KernelFile{"/boot/vmlinuz", {}}));
  EXPECT_EQ(target_of("./bzImage:modules=/m"), KernelRef::Target(KernelFile{"./bzImage", "/m"}));
  EXPECT_EQ(target_of("./host"), KernelRef::Target(KernelFile{"./host", {}}));
  EXPECT_EQ(target_of("a:b"), KernelRef::Target(KernelFile{"a:b", {}}));
}

TEST(KernelRefTest, RejectsWhatIsNone) {
  for (const std::string_view text :
       {"", "debian:", "debian:/", "debian:trixie/", "debian:/amd64", "debian:trixie", "debian:../../etc/amd64",
        "debian:trixie/amd64/x", "debian:trixie/-oDir=x", "debian:-x/amd64", "debian:Trixie/amd64", "debian:6.1.0 -y",
        "debian:6.1.0\n", ":modules=/m", "bzImage:modules=", "debian:6.1_1"}) {
    const auto ref = KernelRef::parse(text);
    ASSERT_FALSE(ref) << text;
    EXPECT_EQ(ref.error().kind(), ErrorKind::kInvalidInput);
    EXPECT_THAT(ref.error().message(), HasSubstr("")) << text;
  }
  EXPECT_THAT(KernelRef::parse("debian:trixie").error().message(), HasSubstr("debian:SUITE/FLAVOUR"));
  EXPECT_FALSE(KernelRef::parse(std::string_view("a\0b", 3)));
  EXPECT_FALSE(KernelRef::parse("debian:6." + std::string(200, '1')));
}

TEST(KernelRefTest, TheDefaultIsTheHostsSuite) {
  const auto suite = debian_suite("PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=bookworm\n");
  ASSERT_TRUE(suite);
  EXPECT_EQ(*suite, "bookworm");
  EXPECT_EQ(*debian_suite("VERSION_CODENAME='sid'\nID=\"debian\""), "sid");
}

TEST(KernelRefTest, AnotherDistributionHasNoDefault) {
  const auto suite = debian_suite("ID=fedora\nVERSION_CODENAME=\"\"\n");
  ASSERT_FALSE(suite);
  EXPECT_EQ(suite.error().kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(suite.error().message(), HasSubstr("ID=fedora"));
  EXPECT_FALSE(debian_suite("ID=debian\n"));
  EXPECT_FALSE(debian_suite("ID=debian\nVERSION_CODENAME=../x\n"));
  EXPECT_FALSE(default_reference("/nonexistent/os-release"));
}

}  // namespace
}  // namespace panicroom::kernels
