#include "harness/control/frames.h"

#include <gtest/gtest.h>

#include "panicroom/v1/control.pb.h"

namespace panicroom::control {
namespace {

v1::ControlRequest request(std::uint64_t id) {
  v1::ControlRequest request;
  request.set_id(id);
  request.mutable_pause();
  return request;
}

TEST(Frames, ComeOutAsTheyWentInHoweverTheyAreCut) {
  const auto bytes = *encode_frame(request(1)) + *encode_frame(request(2));
  FrameDecoder frames;
  std::vector<std::uint64_t> ids;
  for (const char byte : bytes) {
    frames.feed(as_bytes(std::string_view(&byte, 1)));
    while (const auto frame = *frames.next()) {
      v1::ControlRequest decoded;
      ASSERT_TRUE(decoded.ParseFromString(*frame));
      EXPECT_TRUE(decoded.has_pause());
      ids.push_back(decoded.id());
    }
  }
  EXPECT_EQ(ids, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_FALSE(frames.in_frame());
}

TEST(Frames, SeveralAtOnce) {
  FrameDecoder frames;
  frames.feed(as_bytes(*encode_frame(request(1)) + *encode_frame(request(2)) + "\x09"));
  EXPECT_TRUE(frames.next()->has_value());
  EXPECT_TRUE(frames.next()->has_value());
  EXPECT_FALSE(frames.next()->has_value());
  EXPECT_TRUE(frames.in_frame());
}

TEST(Frames, WhatIsTooLargeIsRefusedBeforeItIsThere) {
  FrameDecoder frames;
  const std::string length = {'\x01', '\x00', '\x10', '\x00'};  // 2^20 + 1.
  frames.feed(as_bytes(length));
  EXPECT_EQ(frames.next().error().kind(), ErrorKind::kInvalidInput);
  EXPECT_FALSE(frames.next());  // And it stays so.
  v1::ControlRequest large;
  large.mutable_write_memory()->set_data(std::string(kMaxFrameBytes, 'x'));
  EXPECT_FALSE(encode_frame(large));
}

}  // namespace
}  // namespace panicroom::control
