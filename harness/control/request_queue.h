// The requests of a session on their way from the thread that reads them to the one that has the machine.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>

#include "panicroom/v1/control.pb.h"

namespace panicroom::control {

// Thread-safe.
class RequestQueue {
 public:
  static constexpr std::size_t kMostWaiting = 16;

  // Waits for room. False if the queue is closed: the request is dropped.
  bool push(v1::ControlRequest request);
  // Nothing more comes, and what waits is dropped: the client is gone, or the process is to end.
  void close();
  [[nodiscard]] bool closed() const;

  // Waits for a request. Nothing if the queue is closed.
  std::optional<v1::ControlRequest> take();
  // Nothing if none waits now.
  std::optional<v1::ControlRequest> try_take();

  // Called, until another or an empty one takes its place, for each request that comes and when the queue is closed, by
  // the thread that brings it. When this returns, the one before is not being called and will not be.
  void on_arrival(std::function<void()> callback);

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::ControlRequest> waiting_;
  bool closed_ = false;
  std::function<void()> on_arrival_;
};

}  // namespace panicroom::control
