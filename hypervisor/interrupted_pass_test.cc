#include "hypervisor/interrupted_pass.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "base/bytes.h"

namespace panicroom::hypervisor {
namespace {

// A stack of 16 words at 0x1000.
struct Stack {
  std::array<std::uint64_t, 16> words{};
  [[nodiscard]] MemoryReader reader() const {
    return [this](Gva at, std::span<std::byte> into) {
      const auto part = slice(std::as_bytes(std::span(words)), at.value - 0x1000, into.size());
      if (at.value < 0x1000 || !part) return false;
      std::memcpy(into.data(), part->data(), part->size());
      return true;
    };
  }
  // As the processor pushes it.
  void push_frame(std::size_t word, const Registers& of) {
    words[word] = of.rip;
    words[word + 1] = of.cs;
    words[word + 2] = of.rflags;
    words[word + 3] = of.rsp;
    words[word + 4] = of.ss;
  }
};

Registers at(std::uint64_t rip, std::uint64_t rsp) {
  Registers registers;
  registers.rip = rip;
  registers.rsp = rsp;
  registers.cs = 0x10;
  registers.efer = kEferLma;
  return registers;
}

TEST(InterruptedByStep, AnExecutedInstructionIsNone) {
  Stack stack;
  EXPECT_FALSE(interrupted_by_step(at(0x100, 0x1070), at(0x103, 0x1070), stack.reader()));
  // A call leaves a return address, but of the next instruction.
  stack.words[13] = 0x105;
  EXPECT_FALSE(interrupted_by_step(at(0x100, 0x1070), at(0x200, 0x1068), stack.reader()));
}

TEST(InterruptedByStep, AHandlerWithAndWithoutErrorCodeIsSeen) {
  for (const std::size_t word : {4U, 5U}) {
    Stack stack;
    const auto before = at(0x100, 0x1070);
    stack.push_frame(word, before);
    const auto pass = interrupted_by_step(before, at(0xf000, 0x1020), stack.reader());
    ASSERT_TRUE(pass);
    EXPECT_EQ(pass->frame->value, 0x1000 + word * 8);
    EXPECT_TRUE(same_pass(*pass, before, stack.reader()));
    // Another execution of the same instruction, elsewhere on the stack.
    EXPECT_FALSE(same_pass(*pass, at(0x100, 0x1068), stack.reader()));
    // The handler returned to another place: what comes back later is a new pass.
    stack.words[word] += 2;
    EXPECT_FALSE(same_pass(*pass, before, stack.reader()));
  }
}

TEST(InterruptedByStep, AStackThatIsNotMappedIsNoFrame) {
  const Stack stack;
  EXPECT_FALSE(interrupted_by_step(at(0x100, 0x5000), at(0xf000, 0x4000), stack.reader()));
  EXPECT_FALSE(interrupted_by_step(at(0x100, ~0ULL), at(0xf000, ~0ULL - 3), stack.reader()));
}

TEST(RepeatedStringOperation, IsToldByPrefixAndOpcode) {
  const auto is = [](std::initializer_list<int> values) {
    std::vector<std::byte> bytes;
    for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
    return is_repeated_string_operation(bytes);
  };
  EXPECT_TRUE(is({0xf3, 0xa4}));
  EXPECT_TRUE(is({0xf3, 0x48, 0xab}));
  EXPECT_TRUE(is({0x66, 0xf2, 0xae}));
  EXPECT_TRUE(is({0xf3, 0x6e}));
  EXPECT_FALSE(is({0xa4}));
  EXPECT_FALSE(is({0xf3, 0x90})) << "pause";
  EXPECT_FALSE(is({0xf3, 0x0f, 0xb8})) << "popcnt";
  EXPECT_FALSE(is({0xeb, 0xfe}));
  EXPECT_FALSE(is({}));
}

}  // namespace
}  // namespace panicroom::hypervisor
