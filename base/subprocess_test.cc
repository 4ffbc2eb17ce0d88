#include "base/subprocess.h"

#include <gtest/gtest.h>

namespace panicroom {
namespace {

TEST(Subprocess, GivesOutputErrorsAndStatus) {
  const auto output = run_process({"sh", "-c", "echo out; echo err >&2; exit 3"});
  ASSERT_TRUE(output);
  EXPECT_EQ(output->out, "out\n");
  EXPECT_EQ(output->err, "err\n");
  EXPECT_EQ(output->exit_status, 3);
}

TEST(Subprocess, ManyBytesOnBothPipesDoNotBlock) {
  const auto output = run_process({"sh", "-c", "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero"});
  ASSERT_TRUE(output);
  EXPECT_EQ(output->out.size(), 300000u);
  EXPECT_EQ(output->err.size(), 300000u);
}

TEST(Subprocess, TheEnvironmentIsLaidOverTheCallers) {
  const auto output = run_process({"sh", "-c", "echo $HOME $X"}, {{"X", "y"}, {"HOME", "/h"}});
  ASSERT_TRUE(output);
  EXPECT_EQ(output->out, "/h y\n");
}

TEST(Subprocess, AMissingProgramIsNamed) {
  const auto output = run_process({"panicroom-no-such-program"});
  ASSERT_FALSE(output);
  EXPECT_NE(output.error().message().find("panicroom-no-such-program"), std::string::npos);
}

TEST(Subprocess, ASignalIsToldAsTheShellTellsIt) {
  EXPECT_EQ(run_process({"sh", "-c", "kill -9 $$"})->exit_status, 137);
}

}  // namespace
}  // namespace panicroom
