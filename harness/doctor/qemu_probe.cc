#include "harness/doctor/qemu_probe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <optional>
#include <system_error>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "base/subprocess.h"
#include "harness/doctor/guest_loop.h"

namespace panicroom::harness {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kInstall = "sudo apt-get install qemu-system-x86";
constexpr std::uint32_t kRounds = 1000;
constexpr auto kEnough =
    std::chrono::milliseconds(400);  // From the first mark on; fewer rounds will do on a slow host.
constexpr int kRomFd = 3;

std::chrono::nanoseconds duration_of(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

// A child process that does not outlive this object.
class Child {
 public:
  struct End {
    int status = 0;                       // As wait(2) has it.
    std::chrono::nanoseconds cpu_time{};  // Of all its threads, from its start.
  };

  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ >= 0) end();
  }

  // What it has used of a CPU so far; nothing if it has ended.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> cpu_time() const {
    clockid_t clock = {};
    timespec used = {};
    if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &used) != 0) return std::nullopt;
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
  }

  // Ends it if it still runs.
  End end() {
    ::kill(pid_, SIGKILL);
    End result;
    rusage usage = {};
    while (::wait4(pid_, &result.status, 0, &usage) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    result.cpu_time = duration_of(usage.ru_utime) + duration_of(usage.ru_stime);
    return result;
  }

 private:
  pid_t pid_;
};

Result<UniqueFd> rom_file() {
  UniqueFd fd(::memfd_create("panicroom-rom", MFD_CLOEXEC));
  if (!fd) return errno_error(errno, "memfd_create");
  const auto rom = guest_rom(kRounds);
  if (::write(fd.get(), rom.data(), rom.size()) != static_cast<ssize_t>(rom.size())) {
    return errno_error(errno, "writing the guest's ROM");
  }
  return fd;
}

Result<pid_t> start(const std::string& program, int rom, int out, int err) {
  std::vector<std::string> argv = {program,
                                   "-accel",
                                   "tcg",
                                   "-machine",
                                   "pc",
                                   "-nodefaults",
                                   "-no-user-config",
                                   "-display",
                                   "none",
                                   "-m",
                                   "4M",
                                   "-bios",
                                   fmt::format("/proc/self/fd/{}", kRomFd),
                                   "-debugcon",
                                   "stdio",
                                   "-device",
                                   fmt::format("isa-debug-exit,iobase={:#x},iosize=1", kExitPort)};
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (auto& argument : argv) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, rom, kRomFd);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return errno_error(failed, fmt::format("starting {}", program));
  return pid;
}

// A descriptor that is certainly not one of those that the child's are made of.
Result<UniqueFd> moved_up(UniqueFd fd) {
  constexpr int kAbove = 10;
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kAbove));
  if (!moved) return errno_error(errno, "fcntl(F_DUPFD_CLOEXEC)");
  return moved;
}

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error(errno, "pipe2");
  Pipe pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
  pipe.write_end = TRY(moved_up(std::move(pipe.write_end)));
  return pipe;
}

// What came of the guest.
struct Marks {
  std::optional<std::chrono::nanoseconds> first;  // QEMU's CPU time then.
  double rounds = 0;                              // Since the first.
  bool ended = false;                             // The output is at its end.
};

// Reads marks until there are enough, the output ends, or the deadline passes.
Result<Marks> read_marks(const Child& child, int out, Clock::time_point deadline) {
  Marks marks;
  auto until = deadline;
  while (true) {
    const auto now = Clock::now();
    // A slow host may need longer for one whole round than what else would be enough.
    if (now >= deadline || (now >= until && marks.rounds > 0)) return marks;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>((now < until ? until : deadline) - now);
    pollfd ready = {out, POLLIN, 0};
    const int count = ::poll(&ready, 1, static_cast<int>(left.count()));
    if (count < 0 && errno != EINTR) return errno_error(errno, "poll");
    if (count <= 0) continue;
    std::array<char, 4096> bytes;
    const auto got = ::read(out, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "read");
    marks.ended = got == 0;
    if (marks.ended) return marks;
    if (marks.first) {
      marks.rounds += static_cast<double>(got);
      continue;
    }
    // Several at once: the time is that of the last of them.
    marks.first = child.cpu_time();
    if (!marks.first) return marks;
    until = std::min(deadline, Clock::now() + kEnough);
  }
}

std::string first_line(std::string text) {
  text.resize(std::min(text.find('\n'), text.size()));
  return text;
}

Result<double> run_guest(const std::string& program, std::chrono::milliseconds limit) {
  auto rom = TRY(rom_file());
  rom = TRY(moved_up(std::move(rom)));
  Pipe out = TRY(make_pipe());
  UniqueFd complaints(::memfd_create("panicroom-stderr", MFD_CLOEXEC));
  if (!complaints) return errno_error(errno, "memfd_create");
  complaints = TRY(moved_up(std::move(complaints)));
  const auto deadline = Clock::now() + limit;
  Child child(TRY(start(program, rom.get(), out.write_end.get(), complaints.get())));
  out.write_end.reset();
  const auto marks = TRY(read_marks(child, out.read_end.get(), deadline));
  const auto end = child.end();
  if (marks.rounds > 0 && end.cpu_time > *marks.first) {
    const auto used = std::chrono::duration<double>(end.cpu_time - *marks.first);
    return marks.rounds * kInstructionsPerRound / used.count();
  }
  if (!marks.ended) return host_error("it ran nothing within {} ms", limit.count());
  std::array<char, 400> text;
  const auto got = ::pread(complaints.get(), text.data(), text.size(), 0);
  const auto said = first_line(std::string(text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))));
  return host_error("it ended without running the guest loop (wait status {:#x}){}{}", end.status,
                    said.empty() ? "" : ": ", said);
}

}  // namespace

std::string parse_qemu_version(std::string_view text) {
  for (const std::string_view before : {"QEMU emulator version ", "qemu-img version "}) {
    if (!text.starts_with(before)) continue;
    text.remove_prefix(before.size());
    return std::string(text.substr(0, text.find_first_not_of("0123456789.")));
  }
  return {};
}

std::string qemu_program_version(const std::string& program) {
  const auto output = run_process({"timeout", "5", program, "--version"});
  if (!output || output->exit_status != 0) return {};
  return parse_qemu_version(output->out);
}

QemuProbe probe_qemu(const std::string& program, std::chrono::milliseconds limit) {
  QemuProbe probe;
  const auto version = run_process({"timeout", "5", program, "--version"});
  if (!version) {
    probe.finding = fmt::format("{}", version.error().message());
    return probe;
  }
  if (version->exit_status != 0) {
    probe.finding =
        fmt::format("{} is not there or does not start ({}): {}", program, first_line(version->err), kInstall);
    return probe;
  }
  probe.version = parse_qemu_version(version->out);
  if (probe.version.empty()) {
    probe.finding = fmt::format("{} does not say that it is QEMU: {}", program, kInstall);
    return probe;
  }
  const auto measured = run_guest(program, limit);
  if (!measured) {
    probe.finding = fmt::format("{} {} cannot run the guest loop by TCG: {}; is it whole? {}", program, probe.version,
                                measured.error().message(), kInstall);
    return probe;
  }
  probe.ran = true;
  probe.cpl0_instructions_per_second = *measured;
  probe.finding = fmt::format("{} {} runs guest kernel code by TCG", program, probe.version);
  return probe;
}

}  // namespace panicroom::harness
