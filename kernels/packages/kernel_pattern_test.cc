#include "kernels/packages/kernel_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/testing/temporary_directory.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> matching(const std::string& pattern) {
  EXPECT_TRUE(is_kernel_pattern(pattern)) << pattern;
  const auto references = references_matching(pattern);
  EXPECT_TRUE(references) << references.error().message();
  std::vector<std::string> texts;
  if (references) {
    for (const auto& reference : *references) texts.push_back(reference.text());
  }
  return texts;
}

TEST(KernelPatternTest, SuitesComeOldestFirst) {
  EXPECT_THAT(matching("debian:*/cloud-amd64"),
              ElementsAre("debian:bullseye/cloud-amd64", "debian:bookworm/cloud-amd64", "debian:trixie/cloud-amd64",
                          "debian:trixie-backports/cloud-amd64", "debian:forky/cloud-amd64", "debian:sid/cloud-amd64"));
  EXPECT_THAT(matching("debian:trixie*/rt-amd64"),
              ElementsAre("debian:trixie/rt-amd64", "debian:trixie-backports/rt-amd64"));
  EXPECT_THAT(matching("debian:b[a-z]*m/amd64"), ElementsAre("debian:bookworm/amd64"));
}

TEST(KernelPatternTest, FlavoursMatchAsWholeNames) {
  EXPECT_THAT(matching("debian:trixie/*"),
              ElementsAre("debian:trixie/amd64", "debian:trixie/cloud-amd64", "debian:trixie/rt-amd64"));
  EXPECT_THAT(matching("debian:sid/*-amd64"), ElementsAre("debian:sid/cloud-amd64", "debian:sid/rt-amd64"));
  EXPECT_EQ(matching("debian:*/*").size(), suites_with_kernels().size() * kernel_flavours().size());
}

TEST(KernelPatternTest, APartWithoutWildcardsIsTakenAsItIs) {
  EXPECT_THAT(matching("debian:stable/cloud-*"), ElementsAre("debian:stable/cloud-amd64"));
  EXPECT_THAT(matching("debian:s?d/cloud-arm64"), ElementsAre("debian:sid/cloud-arm64"));
}

TEST(KernelPatternTest, NothingMatchesNothing) {
  EXPECT_THAT(matching("debian:potato*/amd64"), IsEmpty());
  EXPECT_THAT(matching("/nonexistent/vmlinuz-*"), IsEmpty());
}

TEST(KernelPatternTest, WildcardsStandInNoOtherForm) {
  for (const std::string text : {"debian:6.1.*", "debian:*", "debian:*/*/*", "debian:../*", "debian:-x/*"}) {
    const auto references = references_matching(text);
    ASSERT_FALSE(references) << text;
    EXPECT_EQ(references.error().kind(), ErrorKind::kInvalidInput);
    EXPECT_THAT(references.error().message(), HasSubstr("SUITE/FLAVOUR")) << text;
  }
}

TEST(KernelPatternTest, PlainReferencesAreNoPatterns) {
  for (const std::string_view text :
       {"host", "debian:trixie/amd64", "debian:6.1.0-56-amd64", "/boot/vmlinuz", "", "vmlinuz:modules=/lib/[x]"}) {
    EXPECT_FALSE(is_kernel_pattern(text)) << text;
  }
  EXPECT_FALSE(is_kernel_pattern(std::string_view("*\0", 2)));
}

class FilePatternTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  const fs::path root_ = directory_.path();

  void add(const std::string& name) { ASSERT_TRUE(write_file(root_ / name, "x")); }
};

TEST_F(FilePatternTest, FilesComeInTheOrderOfTheirVersionsEachOnce) {
  for (const char* name : {"vmlinuz-6.1.0-10", "vmlinuz-6.1.0-9", "vmlinuz-5.10", "vmlinuz-5.9-amd64", "config-5.10"})
    add(name);
  fs::create_symlink("vmlinuz-5.10", root_ / "vmlinuz-link");
  fs::create_directory(root_ / "vmlinuz-folder");
  EXPECT_THAT(matching(root_ / "vmlinuz-*"),
              ElementsAre((root_ / "vmlinuz-5.9-amd64").native(), (root_ / "vmlinuz-5.10").native(),
                          (root_ / "vmlinuz-6.1.0-9").native(), (root_ / "vmlinuz-6.1.0-10").native()));
}

TEST_F(FilePatternTest, TheModulesFolderStaysWithEachFile) {
  add("a1");
  add("a2");
  EXPECT_THAT(matching((root_ / "a?").native() + ":modules=/m"),
              ElementsAre((root_ / "a1").native() + ":modules=/m", (root_ / "a2").native() + ":modules=/m"));
}

TEST_F(FilePatternTest, AFileWhoseNameHasABracketIsThatFile) {
  add("vmlinuz[1]");
  EXPECT_FALSE(is_kernel_pattern((root_ / "vmlinuz[1]").native()));
  EXPECT_FALSE(is_kernel_pattern((root_ / "vmlinuz[1]").native() + ":modules=/m"));
}

}  // namespace
}  // namespace panicroom::kernels
