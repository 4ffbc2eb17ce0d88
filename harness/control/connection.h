// The session's end of the socket on which its requests come and its responses go.
#pragma once

#include "base/file.h"
#include "base/result.h"
#include "harness/control/request_queue.h"
#include "panicroom/v1/control.pb.h"

namespace panicroom::control {

// receive() is one thread's, send() another's; end() is any thread's.
class Connection {
 public:
  explicit Connection(UniqueFd socket) : socket_(std::move(socket)) {}

  // Puts what comes into the queue until the other side ends, and closes the queue then. Nothing is an error of this
  // side's: what cannot be understood ends it as well.
  Result<> receive(RequestQueue& requests);
  // Waits until the other side has room. kCancelled if it is gone.
  Result<> send(const v1::ControlResponse& response);
  // receive() returns.
  void end();

 private:
  UniqueFd socket_;
};

}  // namespace panicroom::control
