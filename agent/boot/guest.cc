#include "agent/boot/guest.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

namespace panicroom::agent {
namespace {

// Both ends; the second one is to be inherited by QEMU.
Result<std::pair<UniqueFd, UniqueFd>> socket_pair() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0) return errno_error(errno, "socketpair");
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  return std::pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

Result<Guest> Guest::start(const GuestOptions& options) {
  Guest guest;
  std::string directory = std::filesystem::temp_directory_path() / "panicroom-agent-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return errno_error(errno, "mkdtemp " + directory);
  guest.directory_ = directory;
  TRY(write_file(directory + "/initrd", Bytes(options.initramfs)));
  auto agent = TRY(socket_pair());
  auto monitor = TRY(socket_pair());

  // -cpu max,-cx16: QEMU 7.2's TCG gives kernels from 6.12 on spurious double faults after cmpxchg16b.
  const std::vector<std::string> argv = {"qemu-system-x86_64",
                                         "-accel",
                                         "tcg",
                                         "-cpu",
                                         "max,-cx16",
                                         "-machine",
                                         "pc",
                                         "-m",
                                         "512M",
                                         "-nodefaults",
                                         "-display",
                                         "none",
                                         "-no-reboot",
                                         "-smp",
                                         std::to_string(options.cpus),
                                         "-kernel",
                                         options.kernel,
                                         "-initrd",
                                         directory + "/initrd",
                                         "-append",
                                         options.command_line,
                                         "-serial",
                                         "file:" + directory + "/console",
                                         "-chardev",
                                         fmt::format("socket,id=agent,fd={}", agent.second.get()),
                                         "-device",
                                         fmt::format("isa-debugcon,iobase={:#x},chardev=agent", kAgentPort),
                                         "-chardev",
                                         fmt::format("socket,id=monitor,fd={}", monitor.second.get()),
                                         "-mon",
                                         "monitor,mode=readline"};
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  guest.pid_ = fork();
  if (guest.pid_ < 0) return errno_error(errno, "fork");
  if (guest.pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  guest.agent_ = std::move(agent.first);
  guest.monitor_ = std::move(monitor.first);
  return guest;
}

Guest::Guest(Guest&& other) noexcept
    : directory_(std::exchange(other.directory_, {})),
      pid_(std::exchange(other.pid_, 0)),
      agent_(std::move(other.agent_)),
      monitor_(std::move(other.monitor_)) {}

Guest::~Guest() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

std::optional<v1::Message> Guest::next() {
  while (true) {
    while (taken_ < decoded_.size()) {
      Received& one = decoded_[taken_++];
      if (const auto* message = std::get_if<v1::Message>(&one)) {
        messages_.push_back(*message);
        return *message;
      }
      errors_.push_back(std::get<ProtocolError>(one));
    }
    std::array<std::byte, 4096> buffer;
    const ssize_t got = read(agent_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    decoded_ = decoder_.feed(Bytes(buffer).first(static_cast<std::size_t>(got)));
    taken_ = 0;
  }
}

std::optional<v1::Message> Guest::wait_for(const std::function<bool(const v1::Message&)>& is_wanted) {
  while (auto message = next()) {
    if (is_wanted(*message)) return message;
  }
  return std::nullopt;
}

void Guest::monitor(const std::string& line) {
  const std::string text = line + "\n";
  if (send(monitor_.get(), text.data(), text.size(), MSG_NOSIGNAL) < 0) monitor_.reset();
}

std::string Guest::console() const { return read_text_file(directory_ + "/console").value_or(""); }

}  // namespace panicroom::agent
