#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace panicroom {
namespace {

std::filesystem::path scratch() {
  auto path = std::filesystem::path(testing::TempDir()) / fmt::format("file_test.{}", ::getpid());
  std::filesystem::create_directories(path);
  return path;
}

TEST(File, WritesReadsAndReplaces) {
  const auto path = scratch() / "a";
  ASSERT_TRUE(write_file(path, "one"));
  ASSERT_TRUE(write_file(path, "two"));
  EXPECT_EQ(*read_text_file(path), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}), 1) << "a temporary stayed";
}

TEST(File, AMissingFileIsTheUsersErrorAndIsNamed) {
  const auto result = read_file(scratch() / "absent");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_NE(result.error().message().find("absent"), std::string::npos);
}

TEST(File, AFullDiskIsAHostErrorAndSaysSo) {
  const auto result = write_file("/dev/full", "x");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::kHost);
  EXPECT_NE(result.error().message().find("/dev/full"), std::string::npos);
  EXPECT_FALSE(std::filesystem::is_regular_file("/dev/full")) << "a device was replaced by a file";
}

TEST(File, AFolderThatIsNotThereIsAHostError) {
  const auto result = write_file(scratch() / "no" / "such" / "folder", "x");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::kHost);
}

TEST(File, SlicesAreBoundsChecked) {
  const auto bytes = as_bytes("abcd");
  EXPECT_EQ(load<std::uint32_t>(bytes, 0), 0x64636261u);
  EXPECT_FALSE(load<std::uint32_t>(bytes, 1));
  EXPECT_FALSE(slice(bytes, ~0ull, 2));
  EXPECT_FALSE(slice(bytes, 2, ~0ull));
}

}  // namespace
}  // namespace panicroom
