// What a client wants a control session's machine to be, looked at before there is a process for it.
#pragma once

#include <vector>

#include "harness/service/run_request.h"
#include "panicroom/v1/control.pb.h"

namespace panicroom::service {

// Everything that is wrong with a session's first request but whether its kernels can be had.
std::vector<Violation> check_control_open(const v1::ControlRequest& request, const RequestPolicy& policy);

}  // namespace panicroom::service
