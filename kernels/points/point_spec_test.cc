#include "kernels/points/point_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "kernels/points/named_points.h"

namespace panicroom::kernels {
namespace {

using ::testing::HasSubstr;

template <typename T>
T parsed(std::string_view text) {
  const auto spec = PointSpec::parse(text);
  if (!spec) {
    ADD_FAILURE() << text << ": " << spec.error().message();
    return {};
  }
  EXPECT_EQ(spec->text, text);
  if (!std::holds_alternative<T>(spec->what)) {
    ADD_FAILURE() << text << " is another kind of point";
    return {};
  }
  return std::get<T>(spec->what);
}

std::string error_of(std::string_view text) {
  const auto spec = PointSpec::parse(text);
  if (spec) return "";
  EXPECT_EQ(spec.error().kind(), ErrorKind::kInvalidInput);
  return spec.error().message();
}

TEST(PointSpec, Symbol) {
  EXPECT_EQ(parsed<SymbolPoint>("panic_smp_self_stop").symbol, "panic_smp_self_stop");
  EXPECT_EQ(parsed<SymbolPoint>("panic_smp_self_stop").offset, 0u);
  EXPECT_EQ(parsed<SymbolPoint>("foo.constprop.0").symbol, "foo.constprop.0");
}

TEST(PointSpec, SymbolWithOffset) {
  EXPECT_EQ(parsed<SymbolPoint>("panic+0x3b").offset, 0x3bu);
  EXPECT_EQ(parsed<SymbolPoint>("panic+59").offset, 59u);
  EXPECT_EQ(parsed<SymbolPoint>("panic+0xffffffffffffffff").offset, ~0ull);
}

TEST(PointSpec, Call) {
  const auto point = parsed<CallPoint>("panic/call:__crash_kexec");
  EXPECT_EQ(point.symbol, "panic");
  EXPECT_EQ(point.callee, "__crash_kexec");
  EXPECT_EQ(point.ordinal, 1u);
  EXPECT_EQ(parsed<CallPoint>("panic/call:printk#12").ordinal, 12u);
}

TEST(PointSpec, Instruction) {
  const auto point = parsed<InstructionPoint>("panic/insn:\"lock cmpxchg\"#2");
  EXPECT_EQ(point.symbol, "panic");
  EXPECT_EQ(point.text, "lock cmpxchg");
  EXPECT_EQ(point.ordinal, 2u);
  EXPECT_EQ(parsed<InstructionPoint>("f/insn:\"mov eax, [rdi]/#\"").text, "mov eax, [rdi]/#");
}

TEST(PointSpec, Return) { EXPECT_EQ(parsed<ReturnPoint>("crash_save_cpu/return").symbol, "crash_save_cpu"); }

TEST(PointSpec, EveryNamedPoint) {
  for (const auto& entry : kNamedPoints) {
    EXPECT_EQ(parsed<NamedPoint>(entry.name).name, entry.name);
    EXPECT_FALSE(entry.meaning.empty());
  }
}

TEST(PointSpec, AnUnknownNamedPointNamesThoseThereAre) {
  const std::string message = error_of("panic/gaet");
  EXPECT_THAT(message, HasSubstr("'panic/gaet'"));
  EXPECT_THAT(message, HasSubstr("did you mean 'panic/gate'?"));
  for (const auto& entry : kNamedPoints) EXPECT_THAT(message, HasSubstr(std::string(entry.name)));
}

TEST(PointSpec, Mistakes) {
  EXPECT_THAT(error_of(""), HasSubstr("no name"));
  EXPECT_THAT(error_of("pa nic"), HasSubstr("'pa nic'"));
  EXPECT_THAT(error_of("0xffff"), HasSubstr("'0xffff'"));
  EXPECT_THAT(error_of("panic+"), HasSubstr("'+'"));
  EXPECT_THAT(error_of("panic+0xg"), HasSubstr("'+0xg'"));
  EXPECT_THAT(error_of("panic+-1"), HasSubstr("'+-1'"));
  EXPECT_THAT(error_of("panic+0x10000000000000000"), HasSubstr("offset"));
  EXPECT_THAT(error_of("panic/call:"), HasSubstr("behind call:"));
  EXPECT_THAT(error_of("panic/call:a+1"), HasSubstr("'a+1'"));
  EXPECT_THAT(error_of("panic/call:f#0"), HasSubstr("'#0'"));
  EXPECT_THAT(error_of("panic/call:f#"), HasSubstr("ordinal"));
  EXPECT_THAT(error_of("panic/insn:pause"), HasSubstr("double quotes"));
  EXPECT_THAT(error_of("panic/insn:\"pause"), HasSubstr("not closed"));
  EXPECT_THAT(error_of("panic/insn:\" \""), HasSubstr("empty"));
  EXPECT_THAT(error_of("panic/insn:\"pause\"2"), HasSubstr("'2'"));
  EXPECT_THAT(error_of("panic/insn:\"pause\"#10000"), HasSubstr("'#10000'"));
  EXPECT_THAT(error_of("/return"), HasSubstr("no name"));
  EXPECT_THAT(error_of("panic/returns"), HasSubstr("'panic/returns'"));
}

TEST(PointSpec, MessagesAreBoundedAndPrintable) {
  const std::string hostile = "\x1b[2J" + std::string(1000, 'x');
  const std::string message = error_of(hostile);
  EXPECT_LT(message.size(), 400u);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_THAT(error_of(std::string(1 << 20, 'a')), HasSubstr("longer"));
  EXPECT_THAT(error_of(std::string(600, 'a')), HasSubstr("longer"));
}

}  // namespace
}  // namespace panicroom::kernels
