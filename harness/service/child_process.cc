#include "harness/service/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>

namespace panicroom::service {
namespace {

int open_pidfd(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }
int send_signal(int pidfd, int number) {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0));
}

// Field 22 of /proc/PID/stat. The second, in brackets, is the program's name and can hold anything.
std::optional<std::uint64_t> start_time(std::string_view stat) {
  const auto bracket = stat.rfind(')');
  if (bracket == std::string_view::npos) return std::nullopt;
  stat.remove_prefix(bracket + 1);
  constexpr int kFieldsBetween = 19;
  for (int i = 0; i < kFieldsBetween + 1; ++i) {
    const auto space = stat.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    stat.remove_prefix(space + 1);
  }
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(stat.data(), stat.data() + stat.size(), value);
  if (parsed.ec != std::errc()) return std::nullopt;
  return value;
}

std::string boot_id() {
  auto text = read_text_file("/proc/sys/kernel/random/boot_id");
  return text ? *std::move(text) : std::string();
}

// Everything that the child needs, made before the fork: behind it, in a copy of a process with other threads, only
// async-signal-safe functions may be called.
struct Prepared {
  std::vector<char*> argv;
  const char* directory;
  int in;
  int out;
  int err;
  int gate;
  pid_t parent;
};

[[noreturn]] void child(const Prepared& prepared) {
  constexpr int kCannotStart = 127;
  // Before the look at the parent: if it has died already, there will be no signal.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != prepared.parent) ::_exit(kCannotStart);
  char go = 0;
  ssize_t got = 0;
  while ((got = ::read(prepared.gate, &go, 1)) < 0 && errno == EINTR) {
  }
  if (got != 1) ::_exit(kCannotStart);
  if (::dup2(prepared.in, STDIN_FILENO) < 0 || ::dup2(prepared.out, STDOUT_FILENO) < 0 ||
      ::dup2(prepared.err, STDERR_FILENO) < 0 || ::chdir(prepared.directory) != 0) {
    ::_exit(kCannotStart);
  }
  // A group of its own: Ctrl-C on the server's terminal is the server's to handle.
  ::setpgid(0, 0);
  sigset_t nothing;
  ::sigemptyset(&nothing);
  ::sigprocmask(SIG_SETMASK, &nothing, nullptr);
  ::execv(prepared.argv[0], prepared.argv.data());
  ::_exit(kCannotStart);
}

}  // namespace

bool wait_for_end(int pidfd, std::chrono::milliseconds time) {
  const auto deadline = std::chrono::steady_clock::now() + time;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd entry{pidfd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, left > 0 ? static_cast<int>(left) : 0);
    if (ready > 0) return true;
    if (ready == 0 && left <= 0) return false;
  }
}

std::optional<ProcessIdentity> identify_process(pid_t pid) {
  const auto stat = read_text_file(fmt::format("/proc/{}/stat", pid));
  if (!stat) return std::nullopt;
  const auto started = start_time(*stat);
  if (!started) return std::nullopt;
  return ProcessIdentity{.pid = pid, .started = *started, .boot_id = boot_id()};
}

Result<ChildProcess> ChildProcess::prepare(const ChildCommand& command) {
  const UniqueFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const UniqueFd out(::open(command.out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  const UniqueFd err(::open(command.err.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  std::array<int, 2> ends{};
  if (!nothing || !out || !err || ::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return errno_error(errno, fmt::format("starting {}", command.argv.front()));
  }
  const UniqueFd gate_read(ends[0]);
  UniqueFd gate_write(ends[1]);
  auto argv = command.argv;
  Prepared prepared{.argv = {},
                    .directory = command.directory.c_str(),
                    .in = command.in >= 0 ? command.in : nothing.get(),
                    .out = out.get(),
                    .err = err.get(),
                    .gate = gate_read.get(),
                    .parent = ::getpid()};
  for (auto& argument : argv) prepared.argv.push_back(argument.data());
  prepared.argv.push_back(nullptr);

  const pid_t pid = ::fork();
  if (pid < 0) return errno_error(errno, fmt::format("starting {}", command.argv.front()));
  if (pid == 0) {
    ::close(gate_write.get());  // Else it would keep its own gate from closing.
    child(prepared);
  }
  ChildProcess process({.pid = pid}, UniqueFd(open_pidfd(pid)), std::move(gate_write));
  if (!process.pidfd_) {
    auto error = errno_error(errno, "pidfd_open");
    process.gate_.reset();
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return error;
  }
  auto identity = identify_process(pid);
  if (!identity) return host_error("/proc tells nothing of a process that was just started");
  process.identity_ = *std::move(identity);
  return process;
}

ChildProcess::~ChildProcess() {
  if (!pidfd_) return;
  gate_.reset();
  send_signal(pidfd_.get(), SIGKILL);
  [[maybe_unused]] const auto status = wait();
}

Result<> ChildProcess::go() {
  const char go = 1;
  if (::write(gate_.get(), &go, 1) != 1) return errno_error(errno, "starting a run's process");
  gate_.reset();
  return {};
}

void ChildProcess::signal(int number) const { send_signal(pidfd_.get(), number); }

Result<int> ChildProcess::wait() {
  int status = 0;
  while (::waitpid(identity_.pid, &status, 0) < 0) {
    if (errno != EINTR) return errno_error(errno, "waiting for a run's process");
  }
  pidfd_.reset();
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

Result<> end_stale_process(const ProcessIdentity& identity, std::chrono::seconds grace) {
  // The descriptor pins the process; only then is it looked at.
  const UniqueFd pidfd(open_pidfd(identity.pid));
  if (!pidfd || identify_process(identity.pid) != identity) return {};
  if (send_signal(pidfd.get(), SIGTERM) != 0 && errno == ESRCH) return {};
  if (wait_for_end(pidfd.get(), grace)) return {};
  constexpr std::chrono::seconds kAfterKill(10);
  if (send_signal(pidfd.get(), SIGKILL) != 0 && errno != ESRCH) {
    return errno_error(errno, fmt::format("ending process {}, which an earlier server started", identity.pid));
  }
  if (wait_for_end(pidfd.get(), kAfterKill)) return {};
  return host_error("process {}, which an earlier server started, does not end", identity.pid);
}

}  // namespace panicroom::service
