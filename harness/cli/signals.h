// Ctrl-C, SIGTERM and SIGHUP end every guest in the ordinary way instead of the process in the middle of something.
#pragma once

#include <signal.h>

#include <thread>

#include "base/file.h"
#include "harness/session/cancellation.h"

namespace panicroom::cli {

// Takes the signals over for as long as it lives; at most one at a time, and made before other threads are started,
// which inherit its signal mask. A second signal ends the process at once: guests are then ended by the next start.
class SignalWatcher {
 public:
  explicit SignalWatcher(harness::Cancellation& cancellation);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void watch();

  harness::Cancellation& cancellation_;
  sigset_t before_{};
  UniqueFd signals_;
  UniqueFd end_;
  std::thread thread_;
};

}  // namespace panicroom::cli
