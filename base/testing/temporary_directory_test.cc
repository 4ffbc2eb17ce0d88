#include "base/testing/temporary_directory.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <optional>
#include <string>

#include "base/file.h"

namespace panicroom {
namespace {

namespace fs = std::filesystem;

TEST(TemporaryDirectoryTest, EachIsEmptyAndThisUsersAlone) {
  const TemporaryDirectory one;
  const TemporaryDirectory other;
  EXPECT_NE(one.path(), other.path());
  EXPECT_TRUE(fs::is_empty(one.path()));
  EXPECT_EQ(fs::status(one.path()).permissions(), fs::perms::owner_all);
}

TEST(TemporaryDirectoryTest, GoesWithAllThatIsInIt) {
  std::optional<TemporaryDirectory> directory(std::in_place);
  const fs::path path = directory->path();
  fs::create_directories(path / "a/b");
  ASSERT_TRUE(write_file(path / "a/b/c", "x"));
  directory.reset();
  EXPECT_FALSE(fs::exists(path));
}

TEST(TemporaryDirectoryTest, WhereNoneCanBeMadeTheTestFails) {
  const TemporaryDirectory parent;
  const char* const before = ::getenv("TMPDIR");
  const std::optional<std::string> saved = before ? std::optional<std::string>(before) : std::nullopt;
  fs::create_directory(parent.path() / "removed");
  ::setenv("TMPDIR", (parent.path() / "removed").c_str(), 1);
  fs::remove(parent.path() / "removed");
  EXPECT_THROW(TemporaryDirectory(), fs::filesystem_error);
  saved ? ::setenv("TMPDIR", saved->c_str(), 1) : ::unsetenv("TMPDIR");
}

}  // namespace
}  // namespace panicroom
