// Calls a function that may never return, with a deadline: libvirt waits for QEMU's monitor without one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace panicroom::qemu {

// What `function` returned, or nothing if it did not return within `timeout`. Then it goes on in a thread of its own
// until it does, so it must own whatever it uses.
template <typename Function>
auto call_with_deadline(Function function, std::chrono::milliseconds timeout) -> std::optional<decltype(function())> {
  struct Shared {
    std::mutex mutex;
    std::condition_variable done;
    std::optional<decltype(function())> result;
  };
  auto shared = std::make_shared<Shared>();
  std::thread([shared, function = std::move(function)]() mutable {
    auto result = function();
    const std::lock_guard lock(shared->mutex);
    shared->result.emplace(std::move(result));
    shared->done.notify_one();
  }).detach();
  std::unique_lock lock(shared->mutex);
  if (!shared->done.wait_for(lock, timeout, [&] { return shared->result.has_value(); })) return std::nullopt;
  return std::move(shared->result);
}

}  // namespace panicroom::qemu
