// Who waits for something to happen in a run.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "harness/service/run_name.h"

namespace panicroom::service {

// Thread-safe.
class RunWatchers {
 public:
  using Callback = std::function<void(bool ended)>;

  // Calls `callback` from now on whenever the run's journal has grown, and when the run has ended, from any thread,
  // until what is returned is dropped; a call that has begun by then may still go on.
  [[nodiscard]] std::shared_ptr<void> watch(RunId run, Callback callback);
  void notify(RunId run, bool ended);
  [[nodiscard]] std::size_t count() const;

 private:
  mutable std::mutex mutex_;
  std::multimap<RunId, std::weak_ptr<Callback>> callbacks_;
};

}  // namespace panicroom::service
