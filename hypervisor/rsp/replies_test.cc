#include "hypervisor/rsp/replies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hypervisor/rsp/packet.h"

namespace panicroom::rsp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Hex, NumbersAreAllDigitsAndFitSixtyFourBits) {
  EXPECT_EQ(parse_hex_number("0"), 0U);
  EXPECT_EQ(parse_hex_number("DeadBeef"), 0xdeadbeefU);
  EXPECT_EQ(parse_hex_number("ffffffffffffffff"), ~std::uint64_t{0});
  for (const auto* bad : {"", "0x1", "-1", "1 ", "10000000000000000", "p1.2"})
    EXPECT_FALSE(parse_hex_number(bad)) << bad;
}

TEST(Hex, BytesGoThereAndBack) {
  const auto bytes = decode_hex("00ff7F");
  ASSERT_TRUE(bytes);
  EXPECT_THAT(*bytes, ElementsAre(std::byte{0}, std::byte{0xff}, std::byte{0x7f}));
  EXPECT_EQ(encode_hex(*bytes), "00ff7f");
  EXPECT_FALSE(decode_hex("0"));
  EXPECT_FALSE(decode_hex("xx"));
}

TEST(ErrorReply, IsNeverMistakenForData) {
  EXPECT_EQ(parse_error_reply("E14"), 0x14U);
  for (const auto* other : {"", "E", "E1", "E144", "Exx", "e14", "OK"}) EXPECT_FALSE(parse_error_reply(other)) << other;
}

TEST(StopReply, OfQemu) {
  auto stop = parse_stop_reply("T05thread:02;");
  ASSERT_TRUE(stop);
  EXPECT_EQ(*stop, (RawStopReply{.code = kSignalTrap, .thread = 2}));

  stop = parse_stop_reply("T05thread:01;awatch:ffffffff81000000;");
  ASSERT_TRUE(stop);
  EXPECT_EQ(stop->watch, RawStopReply::Watch::kAccess);
  EXPECT_EQ(stop->watch_address, Gva{0xffffffff81000000});
}

TEST(StopReply, OfOtherStubs) {
  EXPECT_EQ(*parse_stop_reply("S02"), (RawStopReply{.code = kSignalInterrupt}));
  EXPECT_EQ(*parse_stop_reply("W00"), (RawStopReply{.kind = RawStopReply::Kind::kExited}));
  EXPECT_EQ(*parse_stop_reply("X09;process:1"), (RawStopReply{.kind = RawStopReply::Kind::kKilled, .code = 9}));
  EXPECT_EQ(*parse_stop_reply("T0506:00;core:1;thread:a"), (RawStopReply{.code = kSignalTrap, .thread = 10}));
}

TEST(StopReply, NonsenseIsQuoted) {
  for (const std::string_view bad :
       {"", "T", "T5", "Tzz", "OK", "E01", "05thread:01;", "S05thread:01;", "W00;x", "T05thread;", "T05thread:;",
        "T05thread:p1.1;", "T05thread:1;thread:2;", "T05watch:zz;", "T05;"}) {
    const auto stop = parse_stop_reply(bad);
    ASSERT_FALSE(stop) << bad;
    EXPECT_EQ(stop.error().kind(), ErrorKind::kHost);
    EXPECT_THAT(stop.error().message(), HasSubstr(fmt::format("\"{}\"", bad)));
  }
}

TEST(Features, OfQemu) {
  const auto features = parse_features("PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+");
  ASSERT_TRUE(features);
  EXPECT_EQ(features->packet_size, 4096U);
  EXPECT_TRUE(features->target_description && features->vcont);
  EXPECT_FALSE(features->no_ack_mode);
}

TEST(Features, PacketSizeIsBoundedBothWays) {
  EXPECT_EQ(parse_features("PacketSize=ffffffffffffffff")->packet_size, PacketDecoder::kMaxPayload);
  EXPECT_FALSE(parse_features("PacketSize=1"));
  EXPECT_FALSE(parse_features("PacketSize="));
}

TEST(ThreadList, PartsAndEnd) {
  EXPECT_THAT(**parse_thread_list("m01,02,0a"), ElementsAre(1, 2, 10));
  EXPECT_THAT(**parse_thread_list("m01"), ElementsAre(1));
  EXPECT_EQ(*parse_thread_list("l"), std::nullopt);
  for (const auto* bad : {"", "m", "m,", "m1,,2", "mp1.1", "OK", "E01", "l1"})
    EXPECT_FALSE(parse_thread_list(bad)) << bad;
}

TEST(Transfer, PartsAndEnd) {
  EXPECT_EQ(parse_transfer("mabc")->data, "abc");
  EXPECT_FALSE(parse_transfer("mabc")->last);
  EXPECT_TRUE(parse_transfer("l")->last);
  EXPECT_FALSE(parse_transfer(""));
  EXPECT_FALSE(parse_transfer("E00"));
}

}  // namespace
}  // namespace panicroom::rsp
