#include "hypervisor/qemu/state_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

namespace panicroom::qemu {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "p";
constexpr std::string_view kLockName = "lock";
// libvirt's monitor sockets are the deepest: PROCESS/lib/qemu/domain-12345-m12345/monitor.sock. The longest socket
// address is 107 characters (unix(7)).
constexpr std::size_t kLongestShared = 107 - 45 - 8;

// flock() of a file that is made if it is not there. Nothing if another process has the lock and `wait` is false.
Result<UniqueFd> lock_file(const fs::path& path, bool wait) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error(errno, fmt::format("opening {}", path.native()));
  while (::flock(fd.get(), LOCK_EX | (wait ? 0 : LOCK_NB)) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return UniqueFd();
    return errno_error(errno, fmt::format("locking {}", path.native()));
  }
  return fd;
}

// Held while directories are made or reaped, so that a directory without a lock in it never is one in the making.
Result<UniqueFd> lock_shared(const fs::path& shared) { return lock_file(shared / kLockName, true); }

// One file of /proc/PID, whole; empty if the process is gone or another user's.
std::string proc_file(pid_t pid, const char* name) {
  auto text = read_text_file(fmt::format("/proc/{}/{}", pid, name));
  return text ? *std::move(text) : std::string();
}

bool is_qemu_of(pid_t pid, const std::string& directory) {
  std::error_code error;
  const auto program = fs::read_symlink(fmt::format("/proc/{}/exe", pid), error);
  if (error || !program.filename().native().starts_with("qemu-system-")) return false;
  return proc_file(pid, "cmdline").find(directory + "/") != std::string::npos;
}

// Waits until the process behind `pidfd` is dead.
bool wait_for_death(int pidfd, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd entry{pidfd, POLLIN, 0};
    if (::poll(&entry, 1, static_cast<int>(left)) > 0) return true;
  }
}

}  // namespace

Result<std::size_t> kill_qemu_of(const fs::path& directory) {
  std::error_code error;
  const auto absolute = fs::weakly_canonical(directory, error);
  const std::string prefix = error ? directory.native() : absolute.native();
  std::size_t killed = 0;
  // A QEMU may be starting another one while we look (libvirt probing it), so look until there is none.
  for (int round = 0; round < 10; ++round) {
    std::size_t found = 0;
    for (const auto& entry : fs::directory_iterator("/proc", error)) {
      const std::string name = entry.path().filename().native();
      pid_t pid = 0;
      const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
      if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size() || !is_qemu_of(pid, prefix)) continue;
      // The descriptor pins the process: what is checked again after it was opened is what the signal reaches.
      const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
      if (!pidfd || !is_qemu_of(pid, prefix)) continue;
      if (::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0) != 0 && errno != ESRCH) {
        return errno_error(errno, fmt::format("ending the leftover QEMU process {}", pid));
      }
      if (!wait_for_death(pidfd.get(), std::chrono::seconds(10))) {
        return host_error("the leftover QEMU process {} did not die within 10 s of SIGKILL", pid);
      }
      ++found;
    }
    if (error) return errno_error(error.value(), "listing /proc");
    killed += found;
    if (found == 0) return killed;
  }
  return killed;
}

Result<StateDirectory> StateDirectory::create(const fs::path& shared) {
  std::error_code error;
  TRY(make_directories(shared));
  const auto absolute = fs::canonical(shared, error);
  if (error) return errno_error(error.value(), fmt::format("finding {}", shared.native()));
  if (absolute.native().size() > kLongestShared) {
    return invalid_input(
        "the state directory {} is too long for the unix sockets in it: {} characters, at most {} (set XDG_RUNTIME_DIR "
        "or "
        "name a shorter one)",
        absolute.native(), absolute.native().size(), kLongestShared);
  }
  struct stat status {};
  if (::lstat(absolute.c_str(), &status) != 0) return errno_error(errno, absolute.native());
  if (status.st_uid != ::geteuid()) {
    return host_error("the state directory {} belongs to another user (number {})", absolute.native(), status.st_uid);
  }
  if (::chmod(absolute.c_str(), 0700) != 0) {
    return errno_error(errno, fmt::format("setting the mode of {}", absolute.native()));
  }
  const auto guard = TRY(lock_shared(absolute));
  std::string path = (absolute / fmt::format("{}XXXXXX", kPrefix)).native();
  if (::mkdtemp(path.data()) == nullptr) return errno_error(errno, fmt::format("making {}", path));
  auto lock = TRY(lock_file(fs::path(path) / kLockName, false));
  if (!lock) return host_error("{} was locked by another process", path);
  return StateDirectory(path, std::move(lock));
}

StateDirectory::StateDirectory(fs::path path, UniqueFd lock)
    : path_(std::move(path)), lock_(std::move(lock)), owner_(::getpid()) {}

StateDirectory::~StateDirectory() {
  if (!lock_ || owner_ != ::getpid()) return;  // Moved from, or inherited by fork().
  // The directory is the only trace by which a QEMU that would not die can be found later.
  if (!kill_qemu_of(path_)) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path default_state_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  struct stat status {};
  if (runtime != nullptr && *runtime == '/' && ::stat(runtime, &status) == 0 && status.st_uid == ::geteuid()) {
    return fs::path(runtime) / "panicroom";
  }
  if (::geteuid() == 0) return "/run/panicroom";
  return fmt::format("/tmp/panicroom-{}", ::geteuid());
}

Result<Leftovers> reap_leftovers(const fs::path& shared) {
  std::error_code error;
  if (!fs::exists(shared, error)) return Leftovers{};
  const auto guard = TRY_CONTEXT("looking for leftovers", lock_shared(shared));
  Leftovers leftovers;
  for (const auto& entry : fs::directory_iterator(shared, error)) {
    std::error_code entry_error;
    if (!entry.is_directory(entry_error) || entry.is_symlink(entry_error) ||
        !entry.path().filename().native().starts_with(kPrefix)) {
      continue;
    }
    // The lock is held until the directory is gone.
    const auto lock = TRY_CONTEXT("looking for leftovers", lock_file(entry.path() / kLockName, false));
    if (!lock) continue;
    leftovers.processes += TRY(kill_qemu_of(entry.path()));
    fs::remove_all(entry.path(), entry_error);
    if (entry_error) {
      return errno_error(entry_error.value(), fmt::format("removing the leftover directory {}", entry.path().native()));
    }
    ++leftovers.directories;
  }
  if (error) return errno_error(error.value(), fmt::format("listing {}", shared.native()));
  return leftovers;
}

}  // namespace panicroom::qemu
