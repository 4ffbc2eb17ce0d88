#include "hypervisor/rsp/packet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace panicroom::rsp {
namespace {

using Event = PacketDecoder::Event;
using testing::ElementsAre;
using testing::HasSubstr;

Event packet(std::string payload) { return {Event::Kind::kPacket, std::move(payload)}; }
const Event kAckEvent{Event::Kind::kAck, {}};
const Event kNackEvent{Event::Kind::kNack, {}};

struct Decoded {
  std::vector<Event> events;
  std::string error;
};

// `piece` is how many bytes the decoder gets at a time.
Decoded decode(std::string_view bytes, std::size_t piece) {
  PacketDecoder decoder;
  Decoded decoded;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    decoder.feed(bytes.substr(at, piece));
    while (true) {
      auto event = decoder.next();
      if (!event) {
        decoded.error = event.error().message();
        EXPECT_EQ(event.error().kind(), ErrorKind::kHost);
        return decoded;
      }
      if (!*event) break;
      decoded.events.push_back(**event);
    }
  }
  return decoded;
}

// With the checksum that the raw (escaped, run-length encoded) body has.
std::string frame(std::string_view raw, char start = '$') {
  unsigned sum = 0;
  for (const char byte : raw) sum += static_cast<unsigned char>(byte);
  return fmt::format("{}{}#{:02x}", start, raw, sum & 0xff);
}

class Cut : public testing::TestWithParam<std::size_t> {
 protected:
  static Decoded decode(std::string_view bytes) { return rsp::decode(bytes, GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(InPieces, Cut, testing::Values(1, 2, 3, 7, 100000));

TEST_P(Cut, PacketsAndAcknowledgementsComeInOrder) {
  const auto decoded = decode("+$OK#9a-+$#00");
  EXPECT_EQ(decoded.error, "");
  EXPECT_THAT(decoded.events, ElementsAre(kAckEvent, packet("OK"), kNackEvent, kAckEvent, packet("")));
}

TEST_P(Cut, ChecksumsMayBeInUpperCase) { EXPECT_THAT(decode("$OK#9A").events, ElementsAre(packet("OK"))); }

TEST_P(Cut, EscapesAreUndone) {
  EXPECT_THAT(decode(frame("a}\x03}\x04}\x0a}]b")).events, ElementsAre(packet("a#$*}b")));
}

TEST_P(Cut, RunLengthsAreExpanded) {
  // "0* " is 0 and three more (the manual's own example); '~' is the longest, 97 more.
  EXPECT_THAT(decode(frame("0* ")).events, ElementsAre(packet("0000")));
  EXPECT_THAT(decode(frame("x*~y")).events, ElementsAre(packet(std::string(98, 'x') + "y")));
  EXPECT_THAT(decode(frame("0*\"0* ")).events, ElementsAre(packet(std::string(10, '0'))));
}

TEST_P(Cut, NotificationsAreDropped) {
  EXPECT_THAT(decode(frame("Stop:T05thread:01;", '%') + "$OK#9a").events, ElementsAre(packet("OK")));
}

TEST_P(Cut, NonsenseEndsTheDecodingAndIsQuoted) {
  EXPECT_THAT(decode("$OK#9b").error, HasSubstr("checksum 9b instead of 9a in \"OK\""));
  EXPECT_THAT(decode("HTTP/1.1 400").error, HasSubstr("outside any packet in \"H\""));
  EXPECT_THAT(decode("$OK#zz").error, HasSubstr("not hexadecimal"));
  EXPECT_THAT(decode("$O$OK#9a").error, HasSubstr("begins inside"));
  EXPECT_THAT(decode(frame("*a")).error, HasSubstr("nothing to repeat"));
  EXPECT_THAT(decode(frame("}* ")).error, HasSubstr("nothing to repeat"));
  EXPECT_THAT(decode(frame("a*\x1f")).error, HasSubstr("run length"));
  EXPECT_THAT(decode(frame("a*\x7f")).error, HasSubstr("run length"));
  EXPECT_THAT(decode(frame("a}")).error, HasSubstr("escape at the end"));
}

TEST_P(Cut, APayloadNeverGrowsBeyondTheLimit) {
  const std::string most(PacketDecoder::kMaxPayload, 'x');
  EXPECT_THAT(decode(frame(most)).events, ElementsAre(packet(most)));
  EXPECT_THAT(decode(frame(most + "x")).error, HasSubstr("too long"));
  std::string bomb = "x";
  for (int i = 0; i < 1000; ++i) bomb += "*~x";
  EXPECT_THAT(decode(frame(bomb)).error, HasSubstr("too long"));
}

TEST(PacketDecoder, StaysAtItsFirstError) {
  PacketDecoder decoder;
  decoder.feed("?");
  const auto first = decoder.next();
  ASSERT_FALSE(first);
  decoder.feed("$OK#9a");
  const auto second = decoder.next();
  ASSERT_FALSE(second);
  EXPECT_EQ(first.error().message(), second.error().message());
}

TEST(PacketDecoder, AnIncompletePacketIsNoEvent) {
  for (const std::string_view part : {"$", "$OK", "$OK#", "$OK#9", "$O*", "$}"}) {
    const auto decoded = decode(part, 1);
    EXPECT_TRUE(decoded.events.empty() && decoded.error.empty()) << part;
  }
}

TEST(EncodePacket, EveryByteSurvivesTheWayThere) {
  std::string payload;
  for (int byte = 0; byte < 256; ++byte) payload += static_cast<char>(byte);
  EXPECT_THAT(decode(encode_packet(payload), 5).events, ElementsAre(packet(payload)));
}

TEST(EncodePacket, IsWhatTheManualSays) {
  EXPECT_EQ(encode_packet("OK"), "$OK#9a");
  EXPECT_EQ(encode_packet("#"), "$}\x03#80");
}

TEST(Printable, EscapesAndShortens) {
  EXPECT_EQ(printable("a\n\\\xff"), "a\\x0a\\\\\\xff");
  EXPECT_EQ(printable("abcdef", 3), "abc... (6 bytes)");
}

}  // namespace
}  // namespace panicroom::rsp
