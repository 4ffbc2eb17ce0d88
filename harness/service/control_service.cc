#include "harness/service/control_service.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "harness/service/control_stream.h"

namespace panicroom::service {
namespace {

class RefusedStream final : public grpc::ServerBidiReactor<v1::ControlRequest, v1::ControlResponse> {
 public:
  explicit RefusedStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerBidiReactor<v1::ControlRequest, v1::ControlResponse>* ControlServiceCalls::Control(
    grpc::CallbackServerContext* call) {
  Caller caller;
  if (const auto refused = context_.gate.admit(*call, Role::kControl, caller); !refused.ok()) {
    return new RefusedStream(refused);
  }
  const std::lock_guard lock(mutex_);
  if (stopping_ || context_.stopping) return new RefusedStream({grpc::StatusCode::UNAVAILABLE, "the server stops"});
  sessions_.remove_if([](Session& session) {
    if (!session.wake->over()) return false;
    session.thread.join();
    return true;
  });
  if (sessions_.size() >= context_.options.max_control_sessions) {
    return new RefusedStream({grpc::StatusCode::RESOURCE_EXHAUSTED, "there are as many sessions as the server takes"});
  }
  auto wake = std::make_shared<SessionWake>();
  if (wake->fd() < 0) return new RefusedStream(context_.internal(host_error("eventfd cannot be had")));
  auto stream = std::make_unique<ControlStream>(context_, wake, caller.identity);
  try {
    sessions_.push_back({.thread = std::thread([stream = stream.get()] { stream->run(); }), .wake = wake});
  } catch (const std::system_error& error) {
    return new RefusedStream(context_.internal(host_error("a thread cannot be had: {}", error.what())));
  }
  return stream.release();
}

void ControlServiceCalls::begin_stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (auto& session : sessions_) session.wake->end();
}

void ControlServiceCalls::stop() {
  begin_stop();
  // Nobody adds to them any more.
  std::list<Session> sessions;
  {
    const std::lock_guard lock(mutex_);
    sessions.swap(sessions_);
  }
  for (auto& session : sessions) session.thread.join();
}

}  // namespace panicroom::service
