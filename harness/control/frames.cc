#include "harness/control/frames.h"

#include <cstdint>

namespace panicroom::control {
namespace {

constexpr std::size_t kLengthBytes = 4;

}  // namespace

Result<std::string> encode_frame(const google::protobuf::MessageLite& message) {
  const std::size_t size = message.ByteSizeLong();
  if (size > kMaxFrameBytes)
    return invalid_input("a message of {} bytes, and at most {} are sent", size, kMaxFrameBytes);
  std::string frame;
  frame.reserve(kLengthBytes + size);
  for (std::size_t i = 0; i < kLengthBytes; ++i) frame += static_cast<char>((size >> (8 * i)) & 0xff);
  if (!message.AppendToString(&frame)) return host_error("a message cannot be serialised");
  return frame;
}

void FrameDecoder::feed(Bytes bytes) {
  // What was given is dropped only here, so that giving many small frames costs no copies.
  buffer_.erase(0, read_);
  read_ = 0;
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<std::optional<std::string>> FrameDecoder::next() {
  const std::size_t left = buffer_.size() - read_;
  if (left < kLengthBytes) return std::optional<std::string>();
  std::size_t size = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    size |= std::size_t{static_cast<std::uint8_t>(buffer_[read_ + i])} << (8 * i);
  }
  if (size > kMaxFrameBytes)
    return invalid_input("a frame of {} bytes, and at most {} are taken", size, kMaxFrameBytes);
  if (left - kLengthBytes < size) return std::optional<std::string>();
  auto frame = buffer_.substr(read_ + kLengthBytes, size);
  read_ += kLengthBytes + size;
  return std::optional<std::string>(std::move(frame));
}

}  // namespace panicroom::control
