#include "agent/guest/dump_saver.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "agent/guest/lent_memory.h"
#include "agent/protocol/config.h"
#include "base/file.h"

namespace panicroom::agent {
namespace {

constexpr std::size_t kPartBytes = std::size_t{2} << 20;
constexpr std::size_t kMostSaid = 2048;
constexpr int kCouldNotStart = 127;
constexpr int kSignalled = 128;
constexpr long kPollNanoseconds = 500'000;

std::uint64_t now() {
  timespec time{};
  clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

struct Program {
  pid_t pid = -1;
  UniqueFd out;
  UniqueFd err;
};

[[noreturn]] void become_makedumpfile(unsigned level, int out, int err) {
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  const std::string path(kMakedumpfilePath);
  const std::string level_text = fmt::format("{}", level);
  // -F: the flattened format, for a pipe. -c: compressed with zlib, which every reader of dumps can undo; with -d, it
  // is what Debian's kdump-tools do. 22: everything but progress and debugging.
  execl(path.c_str(), "makedumpfile", "-F", "-c", "-d", level_text.c_str(), "--message-level", "22", "/proc/vmcore",
        nullptr);
  const std::string_view why = std::strerror(errno);
  static_cast<void>(write(STDERR_FILENO, why.data(), why.size()));
  _exit(kCouldNotStart);
}

Outcome<Program> start(unsigned level) {
  std::array<int, 2> out;
  std::array<int, 2> err;
  if (pipe2(out.data(), O_CLOEXEC) != 0) return failure(v1::Failed::STAGE_INTERNAL, errno, "making a pipe");
  Program program;
  program.out = UniqueFd(out[0]);
  const UniqueFd out_end(out[1]);
  if (pipe2(err.data(), O_CLOEXEC) != 0) return failure(v1::Failed::STAGE_INTERNAL, errno, "making a pipe");
  program.err = UniqueFd(err[0]);
  const UniqueFd err_end(err[1]);
  program.pid = fork();
  if (program.pid < 0) return failure(v1::Failed::STAGE_INTERNAL, errno, "starting makedumpfile");
  if (program.pid == 0) become_makedumpfile(level, out_end.get(), err_end.get());
  return program;
}

class Saver {
 public:
  Saver(Channel& channel, LentMemory memory) : channel_(channel), memory_(std::move(memory)) {}

  void run(const Program& program) {
    std::array<pollfd, 2> waits = {pollfd{program.out.get(), POLLIN, 0}, pollfd{program.err.get(), POLLIN, 0}};
    while (waits[0].fd >= 0 || waits[1].fd >= 0) {
      if (poll(waits.data(), waits.size(), -1) < 0) {
        if (errno == EINTR) continue;
        break;
      }
      if (waits[0].revents != 0 && !take_output(waits[0].fd)) waits[0].fd = -1;
      if (waits[1].revents != 0 && !take_words(waits[1].fd)) waits[1].fd = -1;
    }
    send_part();
  }

  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  [[nodiscard]] const std::string& said() const { return said_; }

 private:
  // Both are false at the end.
  bool take_output(int fd) {
    const auto room = memory_.bytes().subspan(filled_);
    const ssize_t got = read(fd, room.data(), room.size());
    if (got < 0) return errno == EINTR;
    if (got == 0) return false;
    filled_ += static_cast<std::size_t>(got);
    if (filled_ == memory_.bytes().size()) send_part();
    return true;
  }

  bool take_words(int fd) {
    std::array<char, 512> words;
    const ssize_t got = read(fd, words.data(), words.size());
    if (got < 0) return errno == EINTR;
    said_.append(words.data(), static_cast<std::size_t>(got));
    if (said_.size() > kMostSaid) said_.erase(0, said_.size() - kMostSaid);
    return got > 0;
  }

  void send_part() {
    if (filled_ == 0) return;
    v1::Message message;
    message.mutable_dump_part()->set_offset(sent_);
    memory_.lend(filled_, ++parts_, *message.mutable_dump_part()->mutable_lent());
    channel_.send(std::move(message));
    const timespec pause{0, kPollNanoseconds};
    while (memory_.acknowledged() != parts_) nanosleep(&pause, nullptr);
    sent_ += filled_;
    filled_ = 0;
  }

  Channel& channel_;
  LentMemory memory_;
  std::size_t filled_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t parts_ = 0;
  std::string said_;
};

}  // namespace

Outcome<> save_dump(Channel& channel, unsigned level) {
  auto memory = LentMemory::create(kPartBytes);
  if (!memory) {
    return failure(
        v1::Failed::STAGE_INTERNAL, 0,
        "the dump cannot be saved: too little crash memory (machine.crashkernel), or the capture kernel does "
        "not tell where memory lies (CONFIG_PROC_PAGE_MONITOR)");
  }
  const std::uint64_t started = now();
  const auto program = start(level);
  if (!program) return tl::unexpected(program.error());
  Saver saver(channel, *std::move(memory));
  saver.run(*program);
  int status = 0;
  while (waitpid(program->pid, &status, 0) < 0 && errno == EINTR) {
  }
  v1::Message message;
  auto& saved = *message.mutable_dump_saved();
  saved.set_exit_status(WIFSIGNALED(status) ? kSignalled + WTERMSIG(status) : WEXITSTATUS(status));
  saved.set_bytes(saver.sent());
  saved.set_took(now() - started);
  saved.set_said(saver.said());
  channel.send(std::move(message));
  return {};
}

}  // namespace panicroom::agent
