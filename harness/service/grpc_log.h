// What the gRPC library itself has to say.
#pragma once

#include "harness/service/service_log.h"

namespace panicroom::service {

// From now on its errors go to `log`, as warnings, and nothing of it to standard error: they are about connections that
// failed, and a client is not the server's fault. One for the process; the last one holds.
void set_grpc_log(LogSink log);

}  // namespace panicroom::service
