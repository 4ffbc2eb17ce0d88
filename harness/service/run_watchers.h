// Who waits for something to happen in a run.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "harness/service/run_name.h"

namespace panicroom::service {

// Thread-safe.
class RunWatchers {
 public:
  using Callback = std::function<void(bool ended)>;

  // Calls `callback` from now on whenever the run's journal has grown, and when the run has ended, from any thread,
  // until what is returned is dropped; a call that has begun by then may still go on.
  [[nodiscard]] std::shared_ptr<void> watch(RunId run, std::string client, Callback callback);
  void notify(RunId run, bool ended);
  // How many watches there are, and how many of them are this client's.
  struct Counts {
    std::size_t all = 0;
    std::size_t of_client = 0;
  };
  [[nodiscard]] Counts counts(std::string_view client) const;

 private:
  struct Watch {
    std::string client;
    Callback callback;
  };
  mutable std::mutex mutex_;
  std::multimap<RunId, std::weak_ptr<Watch>> watches_;
};

}  // namespace panicroom::service
