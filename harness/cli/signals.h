// Ctrl-C, SIGTERM and SIGHUP end what is under way in the ordinary way instead of the process in the middle of it.
#pragma once

#include <signal.h>

#include <functional>
#include <string>
#include <thread>

#include "base/file.h"
#include "harness/session/cancellation.h"

namespace panicroom::cli {

// Takes the signals over for as long as it lives; at most one at a time, and made before other threads are started,
// which inherit its signal mask.
class SignalWatcher {
 public:
  // What a second signal does.
  enum class Again {
    kLeave,   // Ends the process at once: guests are then ended by the next start.
    kIgnore,  // Nothing: the service's own processes get SIGTERM from the kernel for each thread of a server that dies.
  };

  explicit SignalWatcher(harness::Cancellation& cancellation, Again again = Again::kLeave);
  // `on_first` is called at the first signal, by a thread of the watcher's own; `message` says what it does.
  SignalWatcher(std::function<void(int signal)> on_first, std::string message, Again again = Again::kLeave);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void watch();

  std::function<void(int signal)> on_first_;
  std::string message_;
  Again again_;
  sigset_t before_{};
  UniqueFd signals_;
  UniqueFd end_;
  std::thread thread_;
};

}  // namespace panicroom::cli
