// QEMUs that misbehave, as shell scripts: the probe must come back and say what was wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/testing/temporary_directory.h"
#include "harness/doctor/qemu_probe.h"

namespace panicroom::harness {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FakeQemuTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  const fs::path folder_ = directory_.path();

  std::string script(const std::string& when_run) {
    const auto path = folder_ / "qemu";
    EXPECT_TRUE(write_file(path,
                           "#!/bin/sh\nif [ \"$1\" = --version ]; then\n  echo QEMU emulator version 9.9.9\n"
                           "  exit 0\nfi\n" +
                               when_run + "\n"));
    fs::permissions(path, fs::perms::owner_all);
    return path.native();
  }
};

TEST_F(FakeQemuTest, OneThatHangsIsEnded) {
  const auto probe = probe_qemu(script("exec sleep 1000"), std::chrono::milliseconds(50));
  EXPECT_EQ(probe.version, "9.9.9");
  EXPECT_FALSE(probe.ran);
  EXPECT_THAT(probe.finding, HasSubstr("ran nothing within 50 ms"));
}

TEST_F(FakeQemuTest, OneThatFailsIsQuoted) {
  const auto probe = probe_qemu(script("echo 'no such machine' >&2; exit 1"));
  EXPECT_FALSE(probe.ran);
  EXPECT_THAT(probe.finding, HasSubstr("no such machine"));
}

TEST_F(FakeQemuTest, OneMarkIsNoMeasurement) {
  const auto probe = probe_qemu(script("printf ."));
  EXPECT_FALSE(probe.ran);
  EXPECT_EQ(probe.cpl0_instructions_per_second, 0);
}

TEST_F(FakeQemuTest, OneThatStopsHalfWayIsBounded) {
  const auto probe = probe_qemu(script("printf .; exec sleep 1000"), std::chrono::milliseconds(50));
  EXPECT_FALSE(probe.ran);
}

}  // namespace
}  // namespace panicroom::harness
