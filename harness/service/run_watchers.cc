#include "harness/service/run_watchers.h"

#include <utility>
#include <vector>

namespace panicroom::service {

std::shared_ptr<void> RunWatchers::watch(RunId run, Callback callback) {
  auto watching = std::make_shared<Callback>(std::move(callback));
  const std::lock_guard lock(mutex_);
  std::erase_if(callbacks_, [](const auto& entry) { return entry.second.expired(); });
  callbacks_.emplace(run, watching);
  return watching;
}

void RunWatchers::notify(RunId run, bool ended) {
  std::vector<std::shared_ptr<Callback>> called;
  {
    const std::lock_guard lock(mutex_);
    const auto [begin, end] = callbacks_.equal_range(run);
    for (auto entry = begin; entry != end; ++entry) {
      if (auto callback = entry->second.lock()) called.push_back(std::move(callback));
    }
  }
  // Without the lock: a callback may begin or end a watch.
  for (const auto& callback : called) (*callback)(ended);
}

std::size_t RunWatchers::count() const {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& [run, callback] : callbacks_) count += callback.expired() ? 0 : 1;
  return count;
}

}  // namespace panicroom::service
