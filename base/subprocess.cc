#include "base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/file.h"

namespace panicroom {
namespace {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error(errno, "pipe2");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::vector<std::string> merged_environment(std::map<std::string, std::string> overrides) {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    overrides.emplace(text.substr(0, equals), text.substr(equals + 1));  // Keeps an override that is there already.
  }
  std::vector<std::string> lines;
  lines.reserve(overrides.size());
  for (const auto& [name, value] : overrides) lines.push_back(fmt::format("{}={}", name, value));
  return lines;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (auto& string : strings) result.push_back(string.data());
  result.push_back(nullptr);
  return result;
}

// Reads both until both are at their end, so that neither pipe can fill up and block the program.
Result<> drain(const Pipe& out, const Pipe& err, ProcessOutput& output) {
  std::array<pollfd, 2> waits = {pollfd{out.read_end.get(), POLLIN, 0}, pollfd{err.read_end.get(), POLLIN, 0}};
  const std::array<std::string*, 2> sinks = {&output.out, &output.err};
  while (waits[0].fd >= 0 || waits[1].fd >= 0) {
    if (::poll(waits.data(), waits.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return errno_error(errno, "poll");
    }
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].fd < 0 || waits[i].revents == 0) continue;
      std::array<char, 4096> chunk;
      const ssize_t got = ::read(waits[i].fd, chunk.data(), chunk.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno_error(errno, "read");
      if (got == 0) {
        waits[i].fd = -1;
      } else {
        sinks[i]->append(chunk.data(), static_cast<std::size_t>(got));
      }
    }
  }
  return {};
}

}  // namespace

Result<ProcessOutput> run_process(const std::vector<std::string>& argv,
                                  const std::map<std::string, std::string>& environment,
                                  const std::filesystem::path& input) {
  Pipe out = TRY(make_pipe());
  Pipe err = TRY(make_pipe());
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input.c_str(), O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.write_end.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err.write_end.get(), STDERR_FILENO);
  // A caller that takes signals through a descriptor has them blocked; the program must not inherit that.
  posix_spawnattr_t attributes;
  sigset_t nothing;
  sigemptyset(&nothing);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setsigmask(&attributes, &nothing);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  auto arguments = argv;
  auto variables = merged_environment(environment);
  pid_t child = -1;
  const int failed = ::posix_spawnp(&child, argv.front().c_str(), &actions, &attributes, pointers(arguments).data(),
                                    pointers(variables).data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (failed != 0) return errno_error(failed, fmt::format("starting {}", argv.front()));
  out.write_end.reset();
  err.write_end.reset();

  ProcessOutput output;
  const auto drained = drain(out, err, output);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return errno_error(errno, fmt::format("waiting for {}", argv.front()));
  }
  if (!drained) return drained.error();
  output.exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return output;
}

}  // namespace panicroom
