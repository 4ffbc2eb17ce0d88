#include "harness/events/event_lines.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/testing/temporary_directory.h"
#include "harness/events/event_reader.h"

namespace panicroom::harness {
namespace {

using google::protobuf::util::MessageDifferencer;
using ::testing::HasSubstr;

v1::Event console_line(std::uint32_t sequence, const std::string& text) {
  v1::Event event;
  event.set_sequence(sequence);
  event.mutable_at()->set_nanos(1'500'000);
  event.mutable_console()->set_text(text);
  return event;
}

v1::Event held(std::uint32_t sequence) {
  v1::Event event;
  event.set_sequence(sequence);
  event.set_cpu(0);
  event.mutable_held();
  return event;
}

TEST(EventLines, AnEventIsOneLineOfJson) {
  EXPECT_EQ(to_line(console_line(7, "a\nb")).value(),
            "{\"sequence\":7,\"at\":\"0.001500s\",\"console\":{\"text\":\"a\\nb\"}}\n");
  // CPU 0 is a CPU; an absent one is none.
  EXPECT_EQ(to_line(held(8)).value(), "{\"sequence\":8,\"cpu\":0,\"held\":{}}\n");
}

TEST(EventLines, BytesThatAreNoTextBecomeReplacementCharacters) {
  const auto line = to_line(console_line(1, "a\xff\xc0z"));
  ASSERT_TRUE(line) << line.error().message();
  EXPECT_THAT(*line, HasSubstr("a\xef\xbf\xbd\xef\xbf\xbdz"));
}

TEST(EventLines, WhatIsReadBackIsWhatWasWritten) {
  const auto log = parse_events(to_line(console_line(1, "x </script> \" \\")).value() + to_line(held(2)).value());
  EXPECT_EQ(log.broken_lines, 0u);
  EXPECT_FALSE(log.too_long);
  ASSERT_EQ(log.events.size(), 2u);
  EXPECT_TRUE(MessageDifferencer::Equals(log.events[0], console_line(1, "x </script> \" \\")));
  EXPECT_TRUE(MessageDifferencer::Equals(log.events[1], held(2)));
}

TEST(EventLines, AGuestThatWritesWithoutEndIsCutOnceAndWhatDecidesIsKept) {
  EventLines lines(200);
  std::string text;
  for (std::uint32_t i = 1; i <= 100; ++i) text += lines.line(console_line(i, "a line of some length")).value();
  text += lines.line(held(101)).value();
  text += lines.line(console_line(102, "x")).value();
  const auto log = parse_events(text);
  ASSERT_EQ(log.events.size(), 4u) << text;
  EXPECT_TRUE(log.events[0].has_console());
  EXPECT_TRUE(log.events[1].has_console());
  EXPECT_TRUE(log.events[2].has_cut());
  EXPECT_EQ(log.events[2].sequence(), 3u);
  EXPECT_EQ(log.events[3].sequence(), 101u);
}

TEST(EventReader, AStreamThatEndsInTheMiddleOfALineKeepsTheLinesBefore) {
  const auto whole = to_line(held(1)).value() + to_line(held(2)).value();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto log = parse_events(std::string_view(whole).substr(0, size));
    EXPECT_EQ(log.events.size() + log.broken_lines, (size + whole.size() / 2 - 1) / (whole.size() / 2)) << size;
  }
}

TEST(EventReader, NoMoreIsReadThanWasAskedFor) {
  const auto line = to_line(held(1)).value();
  const auto log = parse_events(line + line + line, 2 * line.size() + 3);
  EXPECT_TRUE(log.too_long);
  EXPECT_EQ(log.events.size(), 2u);
  EXPECT_EQ(log.broken_lines, 0u);
  EXPECT_TRUE(parse_events(line, 3).events.empty());
}

TEST(EventReader, AFileIsReadAndItsAbsenceNamed) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "events.jsonl";
  const auto absent = read_events(path);
  ASSERT_FALSE(absent);
  EXPECT_THAT(absent.error().message(), HasSubstr(path.native()));
  std::ofstream(path) << to_line(held(1)).value();
  const auto log = read_events(path);
  ASSERT_TRUE(log) << log.error().message();
  EXPECT_EQ(log->events.size(), 1u);
}

}  // namespace
}  // namespace panicroom::harness
