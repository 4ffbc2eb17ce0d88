// RunService. Includes gRPC's headers: for the service's own sources.
#pragma once

#include "harness/service/service_context.h"
#include "panicroom/v1/run_service.grpc.pb.h"

namespace panicroom::service {

// The calls that are answered at once have a thread while they last; the streams, which last as long as runs, have
// none.
class RunServiceCalls final : public v1::RunService::WithCallbackMethod_WatchRun<v1::RunService::Service> {
 public:
  // The context must outlive it.
  explicit RunServiceCalls(ServiceContext& context) : context_(context) {}

  grpc::Status StartRun(grpc::ServerContext* call, const v1::StartRunRequest* request,
                        v1::StartRunResponse* response) override;
  grpc::Status GetRun(grpc::ServerContext* call, const v1::GetRunRequest* request,
                      v1::GetRunResponse* response) override;
  grpc::Status ListRuns(grpc::ServerContext* call, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override;
  grpc::Status CancelRun(grpc::ServerContext* call, const v1::CancelRunRequest* request,
                         v1::CancelRunResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchRunResponse>* WatchRun(grpc::CallbackServerContext* call,
                                                           const v1::WatchRunRequest* request) override;

 private:
  grpc::Status answer(const AddedRun& added, v1::StartRunResponse& response);

  ServiceContext& context_;
  std::mutex starting_;  // One request is checked at a time: that takes memory.
};

}  // namespace panicroom::service
