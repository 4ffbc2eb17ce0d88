#include "harness/cli/signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace panicroom::cli {
namespace {

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

SignalWatcher::SignalWatcher(harness::Cancellation& cancellation, Again again)
    : SignalWatcher([&cancellation](int) { cancellation.request(); }, "ending the guests", again) {}

SignalWatcher::SignalWatcher(std::function<void(int signal)> on_first, std::string message, Again again)
    : on_first_(std::move(on_first)),
      message_("\npanicroom: " + std::move(message) +
               (again == Again::kLeave ? " (once more to leave at once)\n" : "\n")),
      again_(again) {
  const sigset_t set = watched();
  ::pthread_sigmask(SIG_BLOCK, &set, &before_);
  signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  end_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  thread_ = std::thread([this] { watch(); });
}

SignalWatcher::~SignalWatcher() {
  const std::uint64_t one = 1;
  while (::write(end_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  thread_.join();
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void SignalWatcher::watch() {
  std::array<pollfd, 2> waits = {pollfd{signals_.get(), POLLIN, 0}, pollfd{end_.get(), POLLIN, 0}};
  bool first = true;
  while (true) {
    if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) return;
    if ((waits[1].revents & POLLIN) != 0) return;
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof(info)) != sizeof(info)) continue;
    if (!std::exchange(first, false)) {
      if (again_ == Again::kIgnore) continue;
      ::_exit(128 + static_cast<int>(info.ssi_signo));
    }
    // The terminal may be gone, which is what SIGHUP says.
    static_cast<void>(!::write(STDERR_FILENO, message_.data(), message_.size()));
    on_first_(static_cast<int>(info.ssi_signo));
  }
}

}  // namespace panicroom::cli
