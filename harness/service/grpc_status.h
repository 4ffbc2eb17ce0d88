// Errors as gRPC statuses. Includes gRPC's headers: for the service's own sources.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "harness/service/run_request.h"
#include "harness/service/service_log.h"

namespace panicroom::service {

// INVALID_ARGUMENT with every violation as google.rpc.BadRequest: see error_details.proto.
grpc::Status bad_request(const std::vector<Violation>& violations);
inline grpc::Status bad_request(std::string field, std::string description) {
  return bad_request({{.field = std::move(field), .description = std::move(description)}});
}
// The violations that such a status carries; none if it carries none, or what is no google.rpc.Status.
std::vector<Violation> violations_of(const grpc::Status& status);

// The host's trouble is for the server's log; clients learn that there is some.
grpc::Status internal(const Error& error, const LogSink& log);

}  // namespace panicroom::service
