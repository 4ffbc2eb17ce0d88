#include "harness/saved_dump/saved_dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/temporary_directory.h"

namespace panicroom::harness {
namespace {

using testing::HasSubstr;

class SavedDumpTest : public ::testing::Test {
 protected:
  static agent::v1::DumpSaved ended(int status, std::uint64_t bytes, std::string said = "") {
    agent::v1::DumpSaved end;
    end.set_exit_status(status);
    end.set_bytes(bytes);
    end.set_said(std::move(said));
    return end;
  }
  TemporaryDirectory folder_;
  SavedDump dump_{folder_.path()};
};

TEST_F(SavedDumpTest, PartsComeInOrder) {
  const std::vector<std::byte> part(100);
  ASSERT_TRUE(dump_.add(0, part));
  ASSERT_TRUE(dump_.add(100, part));
  const auto again = dump_.add(100, part);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind(), ErrorKind::kHost);
  EXPECT_FALSE(dump_.add(300, part));
}

TEST_F(SavedDumpTest, PartsThatAreMissingAreTheHostsFault) {
  ASSERT_TRUE(dump_.add(0, std::vector<std::byte>(100)));
  const auto finding = dump_.finish(ended(0, 200), {});
  ASSERT_FALSE(finding);
  EXPECT_EQ(finding.error().kind(), ErrorKind::kHost);
}

TEST_F(SavedDumpTest, AProgramThatFailedIsAFindingWithItsWords) {
  const auto finding = dump_.finish(ended(1, 0, "Can't get necessary symbols\nmakedumpfile Failed.\n"), {});
  ASSERT_TRUE(finding) << finding.error().message();
  EXPECT_THAT(finding->trouble, HasSubstr("makedumpfile"));
  ASSERT_EQ(finding->checks.size(), 1U);
  EXPECT_FALSE(finding->checks[0].ok());
  EXPECT_THAT(finding->checks[0].actual(), HasSubstr("Can't get necessary symbols makedumpfile Failed."));
  EXPECT_EQ(finding->saved.file(), "");
}

TEST_F(SavedDumpTest, ADumpThatIsNoneIsAFinding) {
  ASSERT_TRUE(dump_.add(0, std::vector<std::byte>(5000, std::byte{'x'})));
  const auto finding = dump_.finish(ended(0, 5000), {});
  ASSERT_TRUE(finding) << finding.error().message();
  EXPECT_THAT(finding->trouble, HasSubstr("saved dump: file"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "vmcore.flat"));
}

TEST_F(SavedDumpTest, AFolderThatCannotBeWrittenToIsTheHostsFault) {
  SavedDump dump(folder_.path() / "nowhere");
  const auto added = dump.add(0, std::vector<std::byte>(1));
  ASSERT_FALSE(added);
  EXPECT_THAT(added.error().message(), HasSubstr("nowhere"));
}

}  // namespace
}  // namespace panicroom::harness
