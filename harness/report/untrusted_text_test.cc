#include "harness/report/untrusted_text.h"

#include <gtest/gtest.h>

#include <string_view>

namespace panicroom::harness {
namespace {

using namespace std::string_literals;

TEST(EscapeUntrusted, TerminalSequencesAreShownNotObeyed) {
  EXPECT_EQ(escape_untrusted("\x1b[2J\rred\x7f\a"), "\\x1b[2J\\x0dred\\x7f\\x07");
  EXPECT_EQ(escape_untrusted("a\0b"s), "a\\x00b");
}

TEST(EscapeUntrusted, C1AndDirectionControlsAreEscapedAsCodePoints) {
  EXPECT_EQ(escape_untrusted("\xc2\x9b"
                             "31m"),
            "\\u{009b}31m");
  EXPECT_EQ(escape_untrusted("\u202e\u2028\u2066\ufeff\uffff"), "\\u{202e}\\u{2028}\\u{2066}\\u{feff}\\u{ffff}");
}

TEST(EscapeUntrusted, ReadableTextIsLeftAlone) {
  EXPECT_EQ(escape_untrusted("a\tµ → 🙂 \\"), "a\tµ → 🙂 \\");
}

TEST(EscapeUntrusted, NewlinesAreKeptOnlyIfAsked) {
  EXPECT_EQ(escape_untrusted("a\nb"), "a\\x0ab");
  EXPECT_EQ(escape_untrusted("a\nb", Newlines::kKeep), "a\nb");
}

TEST(EscapeUntrusted, BytesThatAreNotUtf8AreShownOneByOne) {
  EXPECT_EQ(escape_untrusted("\xff\xc0\xaf|\xe2\x82|\xed\xa0\x80|\xf4\x90\x80\x80|\xc3"),
            "\\xff\\xc0\\xaf|\\xe2\\x82|\\xed\\xa0\\x80|\\xf4\\x90\\x80\\x80|\\xc3");
}

TEST(ReplaceInvalidUtf8, OnlyTheBadBytesGo) { EXPECT_EQ(replace_invalid_utf8("µ\xff\x1b"), "µ\ufffd\x1b"); }

TEST(Shorten, CutsAtCodePoints) {
  EXPECT_EQ(columns("µm→"), 3u);
  EXPECT_EQ(shorten("µm→", 3), "µm→");
  EXPECT_EQ(shorten("µm→x", 3), "µm…");
  EXPECT_EQ(shorten("abc", 1), "…");
  EXPECT_EQ(shorten("abc", 0), "");
}

}  // namespace
}  // namespace panicroom::harness
