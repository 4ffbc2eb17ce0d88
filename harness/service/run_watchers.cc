#include "harness/service/run_watchers.h"

#include <utility>
#include <vector>

namespace panicroom::service {

std::shared_ptr<void> RunWatchers::watch(RunId run, std::string client, Callback callback) {
  auto watch = std::make_shared<Watch>(Watch{.client = std::move(client), .callback = std::move(callback)});
  const std::lock_guard lock(mutex_);
  std::erase_if(watches_, [](const auto& entry) { return entry.second.expired(); });
  watches_.emplace(run, watch);
  return watch;
}

void RunWatchers::notify(RunId run, bool ended) {
  std::vector<std::shared_ptr<Watch>> called;
  {
    const std::lock_guard lock(mutex_);
    const auto [begin, end] = watches_.equal_range(run);
    for (auto entry = begin; entry != end; ++entry) {
      if (auto watch = entry->second.lock()) called.push_back(std::move(watch));
    }
  }
  // Without the lock: a callback may begin or end a watch.
  for (const auto& watch : called) watch->callback(ended);
}

RunWatchers::Counts RunWatchers::counts(std::string_view client) const {
  const std::lock_guard lock(mutex_);
  Counts counts;
  for (const auto& [run, entry] : watches_) {
    const auto watch = entry.lock();
    if (!watch) continue;
    ++counts.all;
    if (watch->client == client) ++counts.of_client;
  }
  return counts;
}

}  // namespace panicroom::service
