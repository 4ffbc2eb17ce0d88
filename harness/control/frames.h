// Messages on a stream of bytes, each behind its length: four bytes, the lowest first. Between the service and the
// process that has a session's machine; neither trusts the other.
#pragma once

#include <google/protobuf/message_lite.h>

#include <cstddef>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::control {

// Of one message. A request holds at most 64 KiB of memory's content, a response a trial's entry.
inline constexpr std::size_t kMaxFrameBytes = std::size_t{1} << 20;

// The message behind its length. kInvalidInput if it is larger than kMaxFrameBytes.
Result<std::string> encode_frame(const google::protobuf::MessageLite& message);

// Takes bytes as they come, and gives messages as they become complete. Holds at most one frame more than was fed at
// once.
class FrameDecoder {
 public:
  void feed(Bytes bytes);
  // The next message's bytes; nothing if it is not complete. kInvalidInput for a length above kMaxFrameBytes: from then
  // on it is that, because nothing behind it can be understood.
  Result<std::optional<std::string>> next();
  // Something has begun that is not complete.
  [[nodiscard]] bool in_frame() const { return read_ < buffer_.size(); }

 private:
  std::string buffer_;
  std::size_t read_ = 0;  // What has been given already.
};

}  // namespace panicroom::control
