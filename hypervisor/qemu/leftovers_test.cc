// What a process that was killed leaves behind is found and ended, and nothing else is. In a program of its own: it
// forks, which has to happen before libvirt has threads.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "base/testing/temporary_directory.h"
#include "hypervisor/qemu/qemu_machine.h"
#include "hypervisor/qemu/state_directory.h"

namespace panicroom::qemu {
namespace {

namespace fs = std::filesystem;

std::size_t process_directories(const fs::path& state) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(state)) count += entry.path().filename().native().starts_with("p");
  return count;
}

// In the child: makes a machine, tells QEMU's process number, and waits to be killed.
[[noreturn]] void live_until_killed(const fs::path& scratch, int tell) {
  hypervisor::MachineConfig config;
  config.name = "left";
  config.memory_bytes = 64U << 20;
  config.kernel = PANICROOM_TEST_GUEST;
  config.directory = scratch;
  QemuOptions options;
  options.state_directory = scratch / "s";
  auto machine = QemuMachine::create(config, options);
  if (!machine) {
    std::fprintf(stderr, "%s\n", machine.error().message().c_str());
    ::_exit(1);
  }
  static_cast<void>((*machine)->resume());
  const pid_t pid = (*machine)->pid();
  if (::write(tell, &pid, sizeof(pid)) != sizeof(pid)) ::_exit(1);
  for (;;) ::pause();
}

TEST(Leftovers, OfAKilledProcessAreEndedAndThoseOfALivingOneAreNot) {
  const TemporaryDirectory temporary;
  const auto& scratch = temporary.path();
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) live_until_killed(scratch, pipe[1]);
  ::close(pipe[1]);
  pid_t qemu = 0;
  ASSERT_EQ(::read(pipe[0], &qemu, sizeof(qemu)), static_cast<ssize_t>(sizeof(qemu)));
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, qemu, 0)));
  ASSERT_TRUE(pidfd);

  // Its owner lives: hands off.
  auto reaped = reap_leftovers(scratch / "s");
  ASSERT_TRUE(reaped) << reaped.error().message();
  EXPECT_EQ(reaped->directories, 0U);
  pollfd entry{pidfd.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 0), 0) << "QEMU was ended although its owner lives";

  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(::poll(&entry, 1, 0), 0) << "QEMU outlives its owner: else there is nothing to test";
  const auto own = StateDirectory::create(scratch / "s");
  ASSERT_TRUE(own) << own.error().message();
  reaped = reap_leftovers(scratch / "s");
  ASSERT_TRUE(reaped) << reaped.error().message();
  EXPECT_EQ(reaped->directories, 1U);
  EXPECT_EQ(reaped->processes, 1U);
  EXPECT_EQ(::poll(&entry, 1, 0), 1) << "QEMU still lives";
  EXPECT_TRUE(fs::exists(own->path()));
  EXPECT_EQ(process_directories(scratch / "s"), 1U);
}

TEST(Leftovers, NothingIsLeftWhereNothingWas) {
  const auto reaped = reap_leftovers("/no/such/directory");
  ASSERT_TRUE(reaped);
  EXPECT_EQ(reaped->directories, 0U);
}

TEST(StateDirectory, IsPrivateAndGoesWithItsOwner) {
  const TemporaryDirectory temporary;
  const auto& scratch = temporary.path();
  fs::path path;
  {
    const auto directory = StateDirectory::create(scratch / "s");
    ASSERT_TRUE(directory) << directory.error().message();
    path = directory->path();
    EXPECT_EQ(fs::status(scratch / "s").permissions(), fs::perms::owner_all);
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_all);
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(StateDirectory, APathTooLongForSocketsIsRefusedAtOnce) {
  const TemporaryDirectory temporary;
  const auto& scratch = temporary.path();
  const auto directory = StateDirectory::create(scratch / std::string(60, 'x'));
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().kind(), ErrorKind::kInvalidInput);
}

}  // namespace
}  // namespace panicroom::qemu
