// ControlService. Includes gRPC's headers: for the service's own sources.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "harness/service/service_context.h"
#include "panicroom/v1/control_service.grpc.pb.h"

namespace panicroom::service {

class SessionWake;

// Each session has a process of its own, which has the machine, and a thread of the server's that stands between the
// two and looks at nothing but the messages. A session has nothing to do with the queue of runs.
class ControlServiceCalls final : public v1::ControlService::WithCallbackMethod_Control<v1::ControlService::Service> {
 public:
  // The context must outlive it.
  explicit ControlServiceCalls(ServiceContext& context) : context_(context) {}
  ControlServiceCalls(const ControlServiceCalls&) = delete;
  ControlServiceCalls& operator=(const ControlServiceCalls&) = delete;
  ~ControlServiceCalls() override { stop(); }

  grpc::ServerBidiReactor<v1::ControlRequest, v1::ControlResponse>* Control(grpc::CallbackServerContext* call) override;

  // Takes no more sessions, and tells those that there are to end.
  void begin_stop();
  // The same, and returns when their machines are gone.
  void stop();

 private:
  struct Session {
    std::thread thread;
    std::shared_ptr<SessionWake> wake;
  };

  ServiceContext& context_;
  std::mutex mutex_;  // What follows.
  bool stopping_ = false;
  std::list<Session> sessions_;
};

}  // namespace panicroom::service
