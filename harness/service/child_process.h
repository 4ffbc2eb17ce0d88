// The process that carries out a run: another instance of this program. A run gets a process of its own, because then a
// fault in what reads hostile guests ends that run and not the server, and because everything that the command line
// does about Ctrl-C and leftovers holds for it unchanged.
//
// It ends with the server: the kernel sends it SIGTERM when the thread that started it dies, for whatever reason, and
// it then ends its guests in the ordinary way. A server that starts again waits for that (end_stale_process()).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace panicroom::service {

// One process for good: a number alone is given to another one day.
struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t started = 0;  // In the kernel's ticks since it booted.
  std::string boot_id;        // Of that kernel.

  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};
// Nothing if there is no such process.
std::optional<ProcessIdentity> identify_process(pid_t pid);

struct ChildCommand {
  std::vector<std::string> argv;    // argv[0] is a path.
  std::filesystem::path directory;  // Where it is run.
  std::filesystem::path out;        // Files for its standard output
  std::filesystem::path err;        // and error.
  int in = -1;                      // Its standard input, which stays the caller's; none: /dev/null.
};

// Owned by the thread that made it, which has to outlive the process. Movable.
class ChildProcess {
 public:
  // Forks; what was forked waits for go(), so that its identity can be written down before it does anything. If this
  // process dies first, it ends.
  static Result<ChildProcess> prepare(const ChildCommand& command);
  ChildProcess(ChildProcess&&) = default;
  ChildProcess& operator=(ChildProcess&&) = delete;
  // Kills it if it has not been waited for.
  ~ChildProcess();

  [[nodiscard]] const ProcessIdentity& identity() const { return identity_; }
  // Readable (poll(2)) when it has ended.
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }
  Result<> go();
  void signal(int number) const;
  // Waits for its end. Its exit status, or 128 + the signal's number.
  Result<int> wait();

 private:
  ChildProcess(ProcessIdentity identity, UniqueFd pidfd, UniqueFd gate)
      : identity_(std::move(identity)), pidfd_(std::move(pidfd)), gate_(std::move(gate)) {}

  ProcessIdentity identity_;
  UniqueFd pidfd_;  // None: it has been waited for.
  UniqueFd gate_;
};

// False if the process has not ended by then.
bool wait_for_end(int pidfd, std::chrono::milliseconds time);

// Ends what a server that was killed has started: SIGTERM, and after `grace` SIGKILL. Nothing to do if that process is
// gone.
Result<> end_stale_process(const ProcessIdentity& identity, std::chrono::seconds grace);

}  // namespace panicroom::service
