#include "harness/service/artifact_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "base/testing/temporary_directory.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

class ArtifactFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(out_ / "a/b");
    ASSERT_TRUE(write_file(out_ / "report.json", "{}"));
    ASSERT_TRUE(write_file(out_ / "a/b/console.log", "abc"));
    ASSERT_TRUE(write_file(directory_.path() / "secret", "secret"));
  }
  bool opens(const fs::path& path) { return ArtifactReader::open(out_, path).has_value(); }

  TemporaryDirectory directory_;
  fs::path out_ = directory_.path() / "out";
};

TEST_F(ArtifactFilesTest, ListsWhatThereIs) {
  fs::create_symlink(directory_.path() / "secret", out_ / "link");
  fs::create_directory_symlink(directory_.path(), out_ / "folder-link");
  ASSERT_TRUE(write_file(out_ / ".hidden", "x"));
  ASSERT_EQ(::mkfifo((out_ / "fifo").c_str(), 0600), 0);
  std::vector<std::string> paths;
  for (const auto& file : list_artifacts(out_)) paths.push_back(fmt::format("{} {}", file.path, file.bytes));
  EXPECT_THAT(paths, testing::ElementsAre("a/b/console.log 3", "report.json 2"));
  EXPECT_THAT(list_artifacts(directory_.path() / "absent"), testing::IsEmpty());
}

TEST_F(ArtifactFilesTest, NothingElseCanBeOpened) {
  fs::create_symlink(directory_.path() / "secret", out_ / "link");
  fs::create_directory_symlink(directory_.path(), out_ / "folder-link");
  ASSERT_EQ(::mkfifo((out_ / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(opens("report.json"));
  EXPECT_TRUE(opens("a/b/console.log"));
  for (const auto* path : {"../secret", "link", "folder-link/secret", "fifo", "a", "a/b", "absent", "a/b/console.log/x",
                           "report.json/x", "", "."}) {
    EXPECT_FALSE(opens(path)) << path;
  }
  EXPECT_FALSE(opens(directory_.path() / "secret"));
}

TEST_F(ArtifactFilesTest, TheDigestIsOfAllThatWasRead) {
  const auto file = ArtifactReader::open(out_, "a/b/console.log").value();
  EXPECT_EQ(file->size(), 3u);
  EXPECT_EQ(file->read(2).value(), "ab");
  EXPECT_EQ(file->read(100).value(), "c");
  EXPECT_EQ(file->read(100).value(), "");
  // FIPS 180-2, B.1.
  EXPECT_EQ(hex(file->digest().value()), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(ArtifactFilesTest, WhatIsAddedLaterIsNotRead) {
  const auto file = ArtifactReader::open(out_, "a/b/console.log").value();
  std::ofstream(out_ / "a/b/console.log", std::ios::app) << "more";
  EXPECT_EQ(file->read(100).value(), "abc");
  EXPECT_EQ(file->read(100).value(), "");
}

TEST_F(ArtifactFilesTest, AFileThatShrinksIsAnError) {
  const auto file = ArtifactReader::open(out_, "a/b/console.log").value();
  fs::resize_file(out_ / "a/b/console.log", 1);
  EXPECT_FALSE(file->read(100));
}

}  // namespace
}  // namespace panicroom::service
