// Hand-assembled shapes: what compilers have made of the places in panic() and its surroundings, and what must not be
// taken for them.
#include "kernels/points/code_patterns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <string>

namespace panicroom::kernels {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr LinkAddress kBase{0xffffffff81000000};
constexpr LinkAddress kPanicCpu{0xffffffff82000000};
constexpr LinkAddress kRedirectCpu{0xffffffff82000004};
constexpr LinkAddress kCallee{0xffffffff81200000};

// Puts instructions together and keeps count of where they are.
class Assembler {
 public:
  [[nodiscard]] LinkAddress here() const { return kBase + bytes_.size(); }
  Assembler& raw(std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) bytes_ += static_cast<char>(byte);
    return *this;
  }
  // Opcode bytes, then a 32-bit displacement to `target` from the instruction's end.
  Assembler& relative(std::initializer_list<unsigned> opcode, LinkAddress target) {
    raw(opcode);
    return word(static_cast<std::uint32_t>(target - (here() + 4)));
  }
  Assembler& word(std::uint32_t value) {
    for (int i = 0; i < 4; ++i) bytes_ += static_cast<char>(value >> (8 * i));
    return *this;
  }
  Assembler& lock_cmpxchg_edx(LinkAddress variable) { return relative({0xf0, 0x0f, 0xb1, 0x15}, variable); }
  Assembler& call(LinkAddress target) { return relative({0xe8}, target); }
  Assembler& jump(LinkAddress target) { return relative({0xe9}, target); }
  Assembler& nop() { return raw({0x90}); }

  [[nodiscard]] std::vector<Instruction> code() const {
    auto out = disassemble({kBase, as_bytes(bytes_)});
    EXPECT_FALSE(out.undecodable);
    return out.instructions;
  }
  [[nodiscard]] std::vector<Instruction> code_to_the_last_whole() const {
    return disassemble({kBase, as_bytes(bytes_)}).instructions;
  }

 private:
  std::string bytes_;
};

TEST(AfterExchange, TheInstructionBehindIt) {
  Assembler a;
  a.nop().lock_cmpxchg_edx(kPanicCpu);
  const LinkAddress behind = a.here();
  a.raw({0x83, 0xf8, 0xff, 0x74, 0x00}).nop();  // cmp eax, -1; je
  EXPECT_THAT(after_exchange(a.code(), kPanicCpu), ElementsAre(behind));
}

TEST(AfterExchange, AnExtendedRegisterToo) {
  Assembler a;
  a.relative({0xf0, 0x44, 0x0f, 0xb1, 0x05}, kPanicCpu);  // lock cmpxchg [panic_cpu], r8d
  const LinkAddress behind = a.here();
  a.nop();
  EXPECT_THAT(after_exchange(a.code(), kPanicCpu), ElementsAre(behind));
}

TEST(AfterExchange, TheDecoyBeforeItIsNotIt) {
  Assembler a;
  a.lock_cmpxchg_edx(kRedirectCpu).raw({0x75, 0x00});
  a.lock_cmpxchg_edx(kPanicCpu);
  const LinkAddress behind = a.here();
  a.raw({0x74, 0x00}).nop();
  EXPECT_THAT(after_exchange(a.code(), kPanicCpu), ElementsAre(behind));
}

TEST(AfterExchange, EveryMatchIsTold) {
  Assembler a;
  a.lock_cmpxchg_edx(kPanicCpu).nop().lock_cmpxchg_edx(kPanicCpu).nop();
  EXPECT_THAT(after_exchange(a.code(), kPanicCpu), ElementsAre(kBase + 8, kBase + 17));
}

TEST(AfterExchange, WhatIsNoLockedExchangeOfTheVariable) {
  Assembler a;
  a.relative({0x0f, 0xb1, 0x15}, kPanicCpu);              // cmpxchg without lock
  a.relative({0xf0, 0x0f, 0xb0, 0x15}, kPanicCpu);        // 8 bits
  a.relative({0xf0, 0x48, 0x0f, 0xb1, 0x15}, kPanicCpu);  // 64 bits
  a.relative({0xf0, 0x0f, 0xc1, 0x15}, kPanicCpu);        // lock xadd
  a.relative({0x87, 0x15}, kPanicCpu);                    // xchg
  a.relative({0x65, 0xf0, 0x0f, 0xb1, 0x15}, kPanicCpu);  // gs:
  a.raw({0xf0, 0x0f, 0xb1, 0x17}).nop();                  // lock cmpxchg [rdi], edx
  EXPECT_THAT(after_exchange(a.code(), kPanicCpu), IsEmpty());
}

TEST(AfterExchange, BytesInsideAnotherInstructionDoNotCount) {
  Assembler a;
  a.raw({0x48, 0xb8, 0xf0, 0x0f, 0xb1, 0x15, 0x00, 0x00, 0x00, 0x00});  // movabs rax, what looks like it
  a.nop();
  EXPECT_THAT(after_exchange(a.code(), kBase + 10), IsEmpty());
}

TEST(AfterExchange, NothingBehindIt) {
  Assembler last;
  last.nop().lock_cmpxchg_edx(kPanicCpu);
  EXPECT_THAT(after_exchange(last.code(), kPanicCpu), IsEmpty());

  Assembler truncated;
  truncated.lock_cmpxchg_edx(kPanicCpu).raw({0x0f});
  EXPECT_THAT(after_exchange(truncated.code_to_the_last_whole(), kPanicCpu), IsEmpty());

  // Another part of the function follows in `code`, but not in memory.
  auto code = last.code();
  const auto cold = disassemble({kBase + 0x1000, as_bytes("\x90")});
  code.insert(code.end(), cold.instructions.begin(), cold.instructions.end());
  EXPECT_THAT(after_exchange(code, kPanicCpu), IsEmpty());
}

TEST(IsJumpTarget, DirectJumpsOnly) {
  Assembler a;
  a.raw({0x74, 0x02});  // je +4
  a.nop().nop().nop();  // +2, +3, +4
  a.call(kBase + 3);    // a call is no jump
  EXPECT_TRUE(is_jump_target(a.code(), kBase + 4));
  EXPECT_FALSE(is_jump_target(a.code(), kBase + 3));
}

TEST(Calls, CallsAndTailJumps) {
  Assembler a;
  a.nop().call(kCallee).call(kCallee + 16).jump(kCallee);
  EXPECT_THAT(calls(a.code(), {kCallee}), ElementsAre(kBase + 1, kBase + 11));
  EXPECT_THAT(calls(a.code(), {kCallee, kCallee + 16}), ElementsAre(kBase + 1, kBase + 6, kBase + 11));
  EXPECT_THAT(calls(a.code(), {kCallee + 8}), IsEmpty());
  EXPECT_THAT(calls(a.code(), {}), IsEmpty());
  EXPECT_THAT(calls({}, {kCallee}), IsEmpty());
}

TEST(Calls, AJumpToItsOwnBeginningIsALoop) {
  Assembler a;
  a.nop().jump(kBase);
  EXPECT_THAT(calls(a.code(), {kBase}), IsEmpty());
  Assembler recursive;
  recursive.nop().call(kBase);
  EXPECT_THAT(calls(recursive.code(), {kBase}), ElementsAre(kBase + 1));
}

TEST(Calls, ConditionalJumpsAreNone) {
  Assembler a;
  a.relative({0x0f, 0x84}, kCallee);
  EXPECT_THAT(calls(a.code(), {kCallee}), IsEmpty());
}

TEST(AfterCall, CallsAndNoJumps) {
  Assembler a;
  a.jump(kCallee).call(kCallee + 16).call(kCallee);
  const LinkAddress behind = a.here();
  a.nop().call(kCallee);  // Nothing behind it.
  EXPECT_THAT(after_call(a.code(), {kCallee}), ElementsAre(behind));
}

TEST(AfterCallWithArgument, TheRightMutex) {
  constexpr LinkAddress kKexecMutex{0xffffffff82345678};
  Assembler a;
  a.raw({0x48, 0xc7, 0xc7}).word(0x82345670).call(kCallee).nop();              // another mutex
  a.raw({0x48, 0xc7, 0xc7}).word(0x82345678).raw({0x31, 0xc0}).call(kCallee);  // mov rdi, kexec_mutex; xor eax, eax
  const LinkAddress behind = a.here();
  a.raw({0x85, 0xc0});
  EXPECT_THAT(after_call_with_argument(a.code(), {kCallee}, kKexecMutex), ElementsAre(behind));
  EXPECT_THAT(after_call_with_argument(a.code(), {kCallee + 1}, kKexecMutex), IsEmpty());

  Assembler by_lea;
  by_lea.relative({0x48, 0x8d, 0x3d}, kKexecMutex).call(kCallee).nop();
  EXPECT_THAT(after_call_with_argument(by_lea.code(), {kCallee}, kKexecMutex), ElementsAre(kBase + 12));
}

TEST(AfterCallWithArgument, WhatTheStraightLineDoesNotTell) {
  constexpr LinkAddress kKexecMutex{0xffffffff82345678};
  Assembler branch;
  branch.raw({0x48, 0xc7, 0xc7}).word(0x82345678).raw({0x74, 0x00}).call(kCallee).nop();
  EXPECT_THAT(after_call_with_argument(branch.code(), {kCallee}, kKexecMutex), IsEmpty());
  Assembler overwritten;
  overwritten.raw({0x48, 0xc7, 0xc7}).word(0x82345678).raw({0x31, 0xff}).call(kCallee).nop();  // xor edi, edi
  EXPECT_THAT(after_call_with_argument(overwritten.code(), {kCallee}, kKexecMutex), IsEmpty());
  Assembler loaded;  // mov rdi, [kexec_mutex]
  loaded.relative({0x48, 0x8b, 0x3d}, kKexecMutex).call(kCallee).nop();
  EXPECT_THAT(after_call_with_argument(loaded.code(), {kCallee}, kKexecMutex), IsEmpty());
}

TEST(Returns, RetAndTheReturnThunk) {
  Assembler a;
  a.raw({0xc3}).raw({0xc2, 0x08, 0x00}).jump(kCallee).jump(kCallee + 1).relative({0x0f, 0x84}, kCallee);
  EXPECT_THAT(returns(a.code(), {kCallee}), ElementsAre(kBase, kBase + 1, kBase + 4));
  EXPECT_THAT(conditional_returns(a.code(), {kCallee}), ElementsAre(kBase + 14));
  EXPECT_THAT(conditional_returns(a.code(), {kCallee + 1}), IsEmpty());
}

TEST(IndirectCalls, OnlyBehindTheLoadOfGs) {
  Assembler a;
  a.raw({0xff, 0xd0}).call(kCallee);    // call rax; call thunk
  a.raw({0x8e, 0xe8});                  // mov gs, eax
  a.relative({0xff, 0x15}, kPanicCpu);  // call [pv_ops]
  const LinkAddress thunk = a.here();
  a.raw({0x2e}).call(kCallee);  // cs call thunk
  const LinkAddress direct = a.here();
  a.raw({0xff, 0xd0}).call(kCallee + 1);
  EXPECT_THAT(indirect_calls_behind_gs_load(a.code(), {kCallee}), ElementsAre(thunk, direct));
}

TEST(PauseLoops, PauseAndTheJumpBackOnly) {
  Assembler a;
  a.raw({0xf3, 0x90}).nop().raw({0xeb, 0xfb});  // pause; nop; jmp: not it
  a.raw({0xf3, 0x90, 0xeb, 0xfd});              // jumps into the middle of pause
  const LinkAddress loop = a.here();
  a.raw({0xf3, 0x90, 0xeb, 0xfc});
  a.raw({0xf3, 0x90, 0x75, 0xfc});  // jne
  a.raw({0xf3, 0x90});
  EXPECT_THAT(pause_loops(a.code()), ElementsAre(loop));
}

TEST(Displacements, OfMovesWithOneRegister) {
  Assembler a;
  a.raw({0x8b, 0x87}).word(0xff5fd000);                       // mov eax, [rdi - 0xa03000]
  a.raw({0x89, 0xb7}).word(0x00001000);                       // mov [rdi + 0x1000], esi
  a.raw({0x8b, 0x07});                                        // mov eax, [rdi]
  a.raw({0x48, 0x8b, 0x87}).word(0xff5fe000);                 // 64 bits
  a.raw({0x87, 0xb7}).word(0xff5fe000);                       // xchg
  a.raw({0x65, 0x8b, 0x87}).word(0xff5fe000);                 // gs:
  a.raw({0x8b, 0x84, 0x37}).word(0xff5fe000);                 // [rdi + rsi + ...]
  a.raw({0x8b, 0x04, 0x25}).word(0xff5fe000);                 // no register
  a.relative({0x8b, 0x05}, LinkAddress{0xffffffff81000000});  // RIP-relative
  EXPECT_THAT(displacements(a.code()),
              ElementsAre(LinkAddress{0}, LinkAddress{0x1000}, LinkAddress{0xffffffffff5fd000}));
}

TEST(IcrStores, RegistersAndLengths) {
  using hypervisor::Gpr;
  Assembler a;
  a.raw({0x89, 0x3c, 0x25}).word(0xff5fd300);          // mov [ICR], edi
  a.raw({0x89, 0x04, 0x25}).word(0xff5fd300);          // eax, in its long form
  a.raw({0x44, 0x89, 0x0c, 0x25}).word(0xff5fd300);    // r9d
  a.raw({0x89, 0x3c, 0x25}).word(0xff5fd310);          // ICR's high half
  a.raw({0x48, 0x89, 0x3c, 0x25}).word(0xff5fd300);    // 64 bits
  a.raw({0x8b, 0x3c, 0x25}).word(0xff5fd300);          // a load
  a.raw({0x87, 0x3c, 0x25}).word(0xff5fd300);          // xchg
  a.raw({0xc7, 0x04, 0x25}).word(0xff5fd300).word(1);  // a constant: no register to rewrite
  const auto found = icr_stores_in(a.code(), LinkAddress{0xffffffffff5fd300});
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].at, kBase);
  EXPECT_EQ(found[0].value, Gpr::kRdi);
  EXPECT_EQ(found[0].length, 7);
  EXPECT_EQ(found[1].value, Gpr::kRax);
  EXPECT_EQ(found[2].value, Gpr::kR9);
  EXPECT_EQ(found[2].length, 8);
}

}  // namespace
}  // namespace panicroom::kernels
