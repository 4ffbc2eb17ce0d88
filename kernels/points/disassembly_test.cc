#include "kernels/points/disassembly.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace panicroom::kernels {
namespace {

constexpr LinkAddress kBase{0xffffffff81000000};

CodePart part(std::string_view bytes) { return {kBase, as_bytes(bytes)}; }
template <std::size_t N>
std::string_view code(const char (&bytes)[N]) {
  return {bytes, N - 1};
}

TEST(Disassembly, IsWithoutGaps) {
  const auto out = disassemble(part(code("\x55\x48\x89\xe5\xf3\x90\xeb\xfc\xc3")));
  EXPECT_FALSE(out.undecodable);
  ASSERT_EQ(out.instructions.size(), 5U);
  EXPECT_EQ(out.instructions[0].mnemonic, ZYDIS_MNEMONIC_PUSH);
  EXPECT_EQ(out.instructions[2].mnemonic, ZYDIS_MNEMONIC_PAUSE);
  EXPECT_EQ(out.instructions[3].target, kBase + 4);
  for (std::size_t i = 1; i < out.instructions.size(); ++i) {
    EXPECT_EQ(out.instructions[i].at, out.instructions[i - 1].end());
  }
}

TEST(Disassembly, StopsAtATruncatedInstruction) {
  const auto out = disassemble(part(code("\x90\xf0\x0f\xb1\x15\x10\x00")));  // lock cmpxchg without its last two bytes
  EXPECT_EQ(out.instructions.size(), 1U);
  EXPECT_EQ(out.undecodable, kBase + 1);
}

TEST(Disassembly, StopsAtWhatIsNoInstruction) {
  const auto out = disassemble(part(code("\x90\x06\x90")));  // push es: not in long mode
  EXPECT_EQ(out.instructions.size(), 1U);
  EXPECT_EQ(out.undecodable, kBase + 1);
}

TEST(Disassembly, OfNothing) {
  const auto out = disassemble(part({}));
  EXPECT_TRUE(out.instructions.empty());
  EXPECT_FALSE(out.undecodable);
}

TEST(Disassembly, IsBounded) {
  const std::string nops(kMaxCodeBytes + 10, '\x90');
  const auto out = disassemble(part(nops));
  EXPECT_EQ(out.instructions.size(), kMaxCodeBytes);
  EXPECT_EQ(out.undecodable, kBase + kMaxCodeBytes);
}

TEST(Disassembly, FixedMemoryAddresses) {
  const auto out =
      disassemble(part(code("\xf0\x0f\xb1\x15\x10\x00\x00\x00"  // lock cmpxchg [rip+0x10], edx
                            "\x89\x3c\x25\x00\xd3\x5f\xff"      // mov [0xffffffffff5fd300], edi
                            "\x65\x8b\x15\x01\x00\x00\x00"      // mov edx, gs:[rip+1]
                            "\x8b\x04\x88"                      // mov eax, [rax+rcx*4]
                            "\x8b\x47\x10")));                  // mov eax, [rdi+0x10]
  ASSERT_EQ(out.instructions.size(), 5U);
  EXPECT_EQ(out.instructions[0].memory, kBase + 0x18);
  EXPECT_TRUE(out.instructions[0].lock);
  EXPECT_EQ(out.instructions[0].operand_bits, 32);
  EXPECT_EQ(out.instructions[1].memory, LinkAddress{0xffffffffff5fd300});
  EXPECT_EQ(out.instructions[1].source, ZYDIS_REGISTER_EDI);
  EXPECT_FALSE(out.instructions[2].memory);  // Per CPU: another address on each.
  EXPECT_FALSE(out.instructions[3].memory);
  EXPECT_FALSE(out.instructions[4].memory);
}

TEST(InstructionText, NamesAddresses) {
  const AddressNamer name = [](LinkAddress address) -> std::optional<std::string> {
    if (address == kBase + 0x18) return "panic_cpu";
    return std::nullopt;
  };
  const auto exchange = part(code("\xf0\x0f\xb1\x15\x10\x00\x00\x00"));
  EXPECT_EQ(instruction_text(exchange, kBase, name), "lock cmpxchg [panic_cpu], edx");
  EXPECT_EQ(instruction_text(exchange, kBase, {}), "lock cmpxchg [0xFFFFFFFF81000018], edx");
  EXPECT_EQ(instruction_text(part(code("\xe8\x13\x00\x00\x00")), kBase, name), "call panic_cpu");
}

TEST(InstructionText, OutsideThePartThereIsNone) {
  const auto nop = part(code("\x90"));
  EXPECT_EQ(instruction_text(nop, kBase, {}), "nop");
  EXPECT_EQ(instruction_text(nop, kBase + 1, {}), "");
  EXPECT_EQ(instruction_text(nop, kBase - 1, {}), "");
}

TEST(InstructionText, ALongNameIsNotCutToSomethingElse) {
  const std::string longest(511, 'x');
  const AddressNamer name = [&](LinkAddress) { return std::optional(longest); };
  EXPECT_EQ(instruction_text(part(code("\xe8\x00\x00\x00\x00")), kBase, name), "call " + longest);
}

TEST(StartsWithWords, WholeWordsAndAnyWhiteSpace) {
  EXPECT_TRUE(starts_with_words("lock cmpxchg [panic_cpu], edx", "lock cmpxchg"));
  EXPECT_TRUE(starts_with_words("lock cmpxchg [panic_cpu], edx", "  lock \t cmpxchg "));
  EXPECT_TRUE(starts_with_words("lock cmpxchg [panic_cpu], edx", "lock cmpxchg [panic_cpu]"));
  EXPECT_TRUE(starts_with_words("pause", "pause"));
  EXPECT_FALSE(starts_with_words("lock cmpxchg16b [rdi]", "lock cmpxchg"));
  EXPECT_FALSE(starts_with_words("lock cmpxchg [rdi], edx", "cmpxchg"));
  EXPECT_FALSE(starts_with_words("call panic_smp_self_stop", "call panic"));
  EXPECT_FALSE(starts_with_words("nop", "nop nop"));
  EXPECT_FALSE(starts_with_words("nop", " "));
}

}  // namespace
}  // namespace panicroom::kernels
