#include "harness/service/run_name.h"

#include <gtest/gtest.h>

namespace panicroom::service {
namespace {

TEST(RunNameTest, IsReadBack) {
  EXPECT_EQ(run_name(RunId(17)), "runs/17");
  EXPECT_EQ(parse_run_name("runs/17"), RunId(17));
}

TEST(RunNameTest, EachRunHasOneName) {
  for (const auto* text : {"", "runs/", "runs/0", "runs/017", "runs/-1", "runs/+1", "runs/1 ", "runs/1/", "run/1", "17",
                           "runs/99999999999999999999", "runs/1x", "runs/ 1"}) {
    EXPECT_FALSE(parse_run_name(text)) << text;
  }
}

TEST(ArtifactNameTest, IsReadBack) {
  const auto name = parse_artifact_name(artifact_name(RunId(3), "6.1.0-56/oops/1/console.log"));
  ASSERT_TRUE(name);
  EXPECT_EQ(name->run, RunId(3));
  EXPECT_EQ(name->path, "6.1.0-56/oops/1/console.log");
  EXPECT_TRUE(is_plain_path("6.12.107+deb13-cloud-amd64_2/machine-1/a"));
}

TEST(ArtifactNameTest, LeadsNowhereElse) {
  for (const std::string path : {"", "..", "../x", "a/../b", "/etc/passwd", "a//b", "a/", "./a", ".hidden", "a/.b",
                                 "-a", "a\nb", "a b", "a\\b", "~root", "a/b\xff"}) {
    EXPECT_FALSE(parse_artifact_name("runs/1/artifacts/" + path)) << path;
  }
  EXPECT_FALSE(is_plain_path(std::string("a\0b", 3)));
  EXPECT_FALSE(parse_artifact_name("runs/1"));
  EXPECT_FALSE(parse_artifact_name("runs/0/artifacts/a"));
  EXPECT_FALSE(is_plain_path(std::string(401, 'a')));
  EXPECT_FALSE(is_plain_path("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17"));
}

}  // namespace
}  // namespace panicroom::service
