#include "harness/report/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

namespace panicroom::harness {
namespace {

TEST(Progress, ATerminalHasOneLineThatIsRewrittenAndThenGone) {
  std::ostringstream out;
  {
    const auto progress = make_progress(out, {.tty = true, .colour = false, .columns = 31});
    progress->show({.subject = "oops", .trial = 1, .trials = 2, .stage = "booting"});
    progress->show({.subject = "oops", .trial = 1, .trials = 2, .stage = "booting"});
    progress->print("pass  single-panic\n");
    progress->show({.subject = "oops", .trial = 2, .trials = 2, .stage = "capture-entered"});
  }
  EXPECT_EQ(out.str(),
            "\r\x1b[Koops: trial 1 of 2: booting"
            "\r\x1b[Kpass  single-panic\noops: trial 1 of 2: booting"
            "\r\x1b[Koops: trial 2 of 2: capture-e…"
            "\r\x1b[K");
}

TEST(Progress, ElsewhereEachSubjectAndTrialIsALineAndStagesAreSilent) {
  std::ostringstream out;
  {
    const auto progress = make_progress(out, {});
    progress->show({.subject = "fetching debian:bookworm/cloud-amd64"});
    progress->show({.subject = "oops", .trial = 1, .trials = 2, .stage = "booting"});
    progress->show({.subject = "oops", .trial = 1, .trials = 2, .stage = "armed"});
    progress->show({.subject = "oops", .trial = 2, .trials = 2, .stage = ""});
    progress->print("pass  oops\n");
    progress->clear();
  }
  EXPECT_EQ(out.str(), "fetching debian:bookworm/cloud-amd64\noops: trial 1 of 2\noops: trial 2 of 2\npass  oops\n");
}

TEST(Progress, SourcesShareATerminalsLine) {
  std::ostringstream out;
  {
    const auto progress = make_progress(out, {.tty = true, .colour = false, .columns = 24});
    progress->show({.source = 1, .subject = "oops", .stage = "booting"});
    progress->show({.source = 2, .subject = "nmi", .stage = "armed"});
    progress->write_above([&] { out << "pass\n"; });
    progress->end(1);
  }
  EXPECT_EQ(out.str(),
            "\r\x1b[Koops: booting"
            "\r\x1b[Koops: boo… | nmi: armed"
            "\r\x1b[Kpass\noops: boo… | nmi: armed"
            "\r\x1b[Knmi: armed"
            "\r\x1b[K");
}

TEST(Progress, SourcesThatTakeTurnsDoNotRepeatTheirLines) {
  std::ostringstream out;
  const auto progress = make_progress(out, {});
  for (const char* stage : {"booting", "armed", "jump"}) {
    progress->show({.source = 1, .subject = "oops", .stage = stage});
    progress->show({.source = 2, .subject = "nmi", .stage = stage});
  }
  progress->write_above([&] { out << "pass\n"; });
  EXPECT_EQ(out.str(), "oops\nnmi\npass\n");
}

TEST(Progress, HostileSubjectsAreEscaped) {
  std::ostringstream out;
  make_progress(out, {})->show({.subject = "a\n\x1b[2J"});
  EXPECT_EQ(out.str(), "a\\x0a\\x1b[2J\n");
}

TEST(Progress, SilentSaysNothing) {
  const auto progress = make_silent_progress();
  progress->show({.subject = "a"});
  progress->print("b\n");
  progress->clear();
  int written = 0;
  progress->write_above([&] { ++written; });
  EXPECT_EQ(written, 1);
}

TEST(TerminalTest, APipeIsNeitherTtyNorColoured) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const auto terminal = inspect_terminal(ends[1]);
  EXPECT_FALSE(terminal.tty);
  EXPECT_FALSE(terminal.colour);
  ::close(ends[0]);
  ::close(ends[1]);
}

// A pseudo-terminal, so that what the environment says decides.
class PseudoTerminal : public ::testing::Test {
 protected:
  void SetUp() override {
    controller_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(controller_, 0);
    ASSERT_EQ(::grantpt(controller_), 0);
    ASSERT_EQ(::unlockpt(controller_), 0);
    fd_ = ::open(::ptsname(controller_), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(fd_, 0);
    const winsize size{.ws_row = 24, .ws_col = 101, .ws_xpixel = 0, .ws_ypixel = 0};
    ASSERT_EQ(::ioctl(controller_, TIOCSWINSZ, &size), 0);
    ::setenv("TERM", "xterm", 1);
    ::unsetenv("NO_COLOR");
  }
  void TearDown() override {
    ::close(fd_);
    ::close(controller_);
    ::unsetenv("NO_COLOR");
  }
  int controller_ = -1;
  int fd_ = -1;
};

TEST_F(PseudoTerminal, IsColouredAndKnowsItsWidth) {
  const auto terminal = inspect_terminal(fd_);
  EXPECT_TRUE(terminal.tty);
  EXPECT_TRUE(terminal.colour);
  EXPECT_EQ(terminal.columns, 101u);
}

TEST_F(PseudoTerminal, NoColorAndDumbTerminalsAreRespected) {
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(inspect_terminal(fd_).colour);
  ::setenv("NO_COLOR", "", 1);
  EXPECT_TRUE(inspect_terminal(fd_).colour);
  ::setenv("TERM", "dumb", 1);
  EXPECT_FALSE(inspect_terminal(fd_).colour);
}

}  // namespace
}  // namespace panicroom::harness
