#include "harness/control/request_queue.h"

#include <utility>

namespace panicroom::control {

bool RequestQueue::push(v1::ControlRequest request) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || waiting_.size() < kMostWaiting; });
  if (closed_) return false;
  waiting_.push_back(std::move(request));
  changed_.notify_all();
  if (on_arrival_) on_arrival_();
  return true;
}

void RequestQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  waiting_.clear();
  changed_.notify_all();
  if (on_arrival_) on_arrival_();
}

bool RequestQueue::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

std::optional<v1::ControlRequest> RequestQueue::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || !waiting_.empty(); });
  if (closed_) return std::nullopt;
  auto request = std::move(waiting_.front());
  waiting_.pop_front();
  changed_.notify_all();
  return request;
}

std::optional<v1::ControlRequest> RequestQueue::try_take() {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) return std::nullopt;
  auto request = std::move(waiting_.front());
  waiting_.pop_front();
  changed_.notify_all();
  return request;
}

void RequestQueue::on_arrival(std::function<void()> callback) {
  const std::lock_guard lock(mutex_);
  on_arrival_ = std::move(callback);
  // What came before is not to be waited for.
  if (on_arrival_ && (closed_ || !waiting_.empty())) on_arrival_();
}

}  // namespace panicroom::control
