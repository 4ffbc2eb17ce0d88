#include "agent/protocol/frame.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace panicroom::agent {
namespace {

using Kind = ProtocolError::Kind;

v1::Message check_message(std::uint64_t sequence, std::string actual) {
  v1::Message message;
  message.set_sequence(sequence);
  message.mutable_check()->set_name("elf-header");
  message.mutable_check()->set_actual(std::move(actual));
  return message;
}

std::vector<std::byte> frame(std::uint64_t sequence, std::string actual = "x") {
  return *encode_frame(check_message(sequence, std::move(actual)));
}

// What came out, as short words: "#SEQUENCE" for a message, the kind's number for an error.
std::vector<std::string> words(const std::vector<Received>& received) {
  std::vector<std::string> out;
  for (const Received& one : received) {
    if (const auto* message = std::get_if<v1::Message>(&one)) {
      out.push_back(fmt::format("#{}", message->sequence()));
    } else {
      out.push_back(fmt::format("error {}", static_cast<int>(std::get<ProtocolError>(one).kind)));
    }
  }
  return out;
}
std::string word(Kind kind) { return fmt::format("error {}", static_cast<int>(kind)); }

std::vector<std::byte> join(std::initializer_list<std::vector<std::byte>> parts) {
  std::vector<std::byte> out;
  for (const auto& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

TEST(Frame, RoundTripAtEveryLengthAcrossTheStuffingBlocks) {
  FrameDecoder decoder;
  std::uint64_t sequence = 0;
  for (std::size_t length = 0; length < 1100; ++length) {
    // With and without zeros, so that full COBS blocks and runs of zeros meet every position.
    for (const char fill : {'a', '\0'}) {
      std::string text(length, fill);
      const auto received = decoder.feed(frame(sequence, text));
      ASSERT_EQ(received.size(), 1u) << length;
      ASSERT_TRUE(std::holds_alternative<v1::Message>(received[0])) << length;
      EXPECT_EQ(std::get<v1::Message>(received[0]).check().actual(), text);
      ++sequence;
    }
  }
  EXPECT_EQ(decoder.messages(), sequence);
  EXPECT_EQ(decoder.garbage_bytes(), 0u);
}

TEST(Frame, NoZeroByteInsideAFrame) {
  const auto bytes = frame(7, std::string(3000, '\0'));
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), std::byte{0}), 2);
}

TEST(Frame, ByteByByteGivesTheSame) {
  const auto stream = join({frame(0), frame(1, std::string(70, 'q')), frame(2)});
  FrameDecoder decoder;
  std::vector<std::string> out;
  for (const std::byte& byte : stream) {
    for (auto& one : words(decoder.feed(Bytes(&byte, 1)))) out.push_back(one);
  }
  EXPECT_THAT(out, testing::ElementsAre("#0", "#1", "#2"));
}

TEST(Frame, AFrameCutByThePanicCostsOnlyItself) {
  // Cut at every place: the capture kernel's first message must be there as soon as its last byte is.
  const auto cut = frame(5, "heartbeat");
  const auto hello = frame(0, "capture");
  for (std::size_t length = 1; length + 1 < cut.size(); ++length) {
    FrameDecoder decoder(FrameDecoder::Start::kMidStream);
    ASSERT_THAT(words(decoder.feed(frame(4))), testing::ElementsAre("#4"));
    ASSERT_TRUE(decoder.feed(Bytes(cut).first(length)).empty());
    const auto out = words(decoder.feed(hello));
    ASSERT_FALSE(out.empty()) << length;
    EXPECT_EQ(out.back(), "#0") << length;
    EXPECT_EQ(decoder.errors(), length > 1 ? 1u : 0u) << length;
    EXPECT_EQ(decoder.garbage_bytes(), length - 1) << length;
  }
}

TEST(Frame, EveryDamagedByteIsNoticed) {
  const auto good = frame(0, "some text");
  for (std::size_t at = 1; at + 1 < good.size(); ++at) {
    auto bad = good;
    bad[at] ^= std::byte{0x41};
    FrameDecoder decoder;
    const auto out = decoder.feed(bad);
    EXPECT_EQ(decoder.messages(), 0u) << at;
    EXPECT_GE(decoder.errors(), 1u) << at;
  }
}

TEST(Frame, EndlessGarbageIsBoundedAndReportedOnce) {
  FrameDecoder decoder;
  const std::vector<std::byte> block(50000, std::byte{0xaa});
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(decoder.feed(block).empty());
    ASSERT_LE(decoder.pending_bytes(), kMaxFrameBytes * 2);
  }
  EXPECT_THAT(words(decoder.feed(frame(0))), testing::ElementsAre(word(Kind::kOversized), "#0"));
  EXPECT_EQ(decoder.garbage_bytes(), 40u * 50000u);
}

TEST(Frame, LostMessagesAreReported) {
  FrameDecoder decoder;
  EXPECT_THAT(
      words(decoder.feed(join({frame(0), frame(1), frame(4), frame(5), frame(0), frame(2)}))),
      testing::ElementsAre("#0", "#1", word(Kind::kSequenceGap), "#4", "#5", "#0", word(Kind::kSequenceGap), "#2"));
}

TEST(Frame, FreshStreamMustBeginAtZeroAndResumedOneNeedNot) {
  FrameDecoder fresh;
  EXPECT_THAT(words(fresh.feed(frame(3))), testing::ElementsAre(word(Kind::kSequenceGap), "#3"));
  FrameDecoder resumed(FrameDecoder::Start::kMidStream);
  const auto half = frame(8);
  EXPECT_THAT(words(resumed.feed(Bytes(half).subspan(9))), testing::IsEmpty());
  EXPECT_THAT(words(resumed.feed(join({frame(9), frame(10)}))), testing::ElementsAre("#9", "#10"));
  EXPECT_EQ(resumed.errors(), 0u);
}

TEST(Frame, AMessageOfNoKindIsNone) {
  FrameDecoder decoder;
  EXPECT_THAT(words(decoder.feed(*encode_frame(v1::Message()))), testing::ElementsAre(word(Kind::kPayload)));
}

TEST(Frame, WhatIsTooLargeForAFrameIsRefused) {
  EXPECT_FALSE(encode_frame(check_message(0, std::string(kMaxFrameBytes, 'x'))));
  const auto largest = encode_frame(check_message(0, std::string(kMaxFrameBytes - 100, 'x')));
  ASSERT_TRUE(largest);
  FrameDecoder decoder;
  EXPECT_THAT(words(decoder.feed(*largest)), testing::ElementsAre("#0"));
}

TEST(Frame, ErrorsSayWhereAndHowMuch) {
  FrameDecoder decoder;
  const auto received = decoder.feed(join({frame(0), {std::byte{9}, std::byte{9}, std::byte{0}}}));
  ASSERT_EQ(received.size(), 2u);
  const auto& error = std::get<ProtocolError>(received[1]);
  EXPECT_EQ(error.stream_offset, frame(0).size());
  EXPECT_EQ(error.bytes, 2u);
  EXPECT_THAT(describe(error), testing::HasSubstr("2 bytes dropped"));
}

}  // namespace
}  // namespace panicroom::agent
