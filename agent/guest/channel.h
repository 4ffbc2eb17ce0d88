// The guest's end of the agent port: numbers, stamps, frames and writes messages.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "agent/protocol/agent.pb.h"

namespace panicroom::agent {

// Why the agent cannot go on; becomes a Failed message.
struct Failure {
  v1::Failed::Stage stage = v1::Failed::STAGE_INTERNAL;
  int error_number = 0;
  std::string text;
};
template <typename T = void>
using Outcome = tl::expected<T, Failure>;
inline tl::unexpected<Failure> failure(v1::Failed::Stage stage, int error_number, std::string text) {
  return tl::unexpected<Failure>({stage, error_number, std::move(text)});
}

// One per process tree: only PID 1 sends. Not thread-safe.
class Channel {
 public:
  // Gets the right to write to ports. Without it there is nobody to tell: false, and send() does nothing.
  bool open();
  void send(v1::Message message);

 private:
  bool open_ = false;
  std::uint64_t sequence_ = 0;
};

}  // namespace panicroom::agent
