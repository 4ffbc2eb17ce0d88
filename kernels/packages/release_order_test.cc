#include "kernels/packages/release_order.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "base/file.h"
#include "base/subprocess.h"
#include "base/testing/temporary_directory.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;

TEST(ReleaseOrderTest, IsNotTheAlphabets) {
  EXPECT_TRUE(version_less("6.1.0-9-amd64", "6.1.0-10-amd64"));
  EXPECT_TRUE(version_less("5.10.223-1", "6.1.9-1"));
  EXPECT_TRUE(version_less("7.3~rc4-1", "7.3-1"));
  EXPECT_TRUE(version_less("6.12.9-1~bpo12+1", "6.12.9-1"));
  EXPECT_TRUE(version_less("9.0-1", "1:6.1-1"));  // The epoch goes before everything.
  EXPECT_TRUE(version_less("6.1.192-1", "6.1.192-1+b1"));
  EXPECT_FALSE(version_less("6.1.192-1", "6.1.192-1"));
  EXPECT_FALSE(version_less("6.01-1", "6.1-1"));
  EXPECT_FALSE(version_less("6.1-1", "6.01-1"));
}

TEST(ReleaseOrderTest, AgreesWithDpkg) {
  const std::vector<std::string> versions = {
      "6.1.192-1", "6.1.99-1", "6.12.9-1~bpo12+1", "6.12.9-1",  "7.3~rc4-1",    "7.3~rc10-1", "7.3-1",
      "1:5.10-1",  "6.1.0a-1", "6.1.0+deb12-1",    "6.1.0.1-1", "6.1.0-1~exp1", "6.1.192-1b", "6.12.107+deb13-1"};
  for (const auto& left : versions) {
    for (const auto& right : versions) {
      const auto dpkg = run_process({"dpkg", "--compare-versions", left, "lt", right});
      ASSERT_TRUE(dpkg) << dpkg.error().message();
      EXPECT_EQ(version_less(left, right), dpkg->exit_status == 0) << left << " < " << right;
    }
  }
}

TEST(ReleaseOrderTest, TheNewestInBoot) {
  const TemporaryDirectory directory;
  const fs::path& boot = directory.path();
  EXPECT_EQ(newest_vmlinuz(boot), std::nullopt);
  for (const char* file : {"vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-10-amd64", "vmlinuz-6.1.0-11-amd64.dpkg-tmp",
                           "vmlinuz-7.0.0-1.old", "vmlinuz-0-rescue-0123", "config-9.9", "vmlinuz-"}) {
    ASSERT_TRUE(write_file(boot / file, "x"));
  }
  EXPECT_EQ(newest_vmlinuz(boot), "6.1.0-10-amd64");
  EXPECT_EQ(newest_vmlinuz(boot / "absent"), std::nullopt);
}

}  // namespace
}  // namespace panicroom::kernels
