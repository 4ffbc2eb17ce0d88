// One client's stream of a run's events. Includes gRPC's headers: for the service's own sources.
#pragma once

#include <grpcpp/support/server_callback.h>

#include "harness/service/service_context.h"
#include "panicroom/v1/run_service.pb.h"

namespace panicroom::service {

// Deletes itself when the stream has ended. It holds one event at a time and reads the next when the client has taken
// that, so a slow client costs no memory and delays nobody. The context must outlive it.
grpc::ServerWriteReactor<v1::WatchRunResponse>* watch_run(ServiceContext& context,
                                                          const grpc::CallbackServerContext& call,
                                                          const v1::WatchRunRequest& request);

}  // namespace panicroom::service
