// The resolver on small kernels made here: what real ones have only in some versions, and what it must refuse.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/points/kernel_builder.h"
#include "kernels/points/resolver.h"

namespace panicroom::kernels {
namespace {

using namespace std::string_literals;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::KernelBuilder;

constexpr LinkAddress kData = KernelBuilder::kData;

// `opcode` and a 32-bit displacement to `target`, for an instruction that begins at `at`.
std::string relative(std::string_view opcode, LinkAddress at, LinkAddress target) {
  const auto displacement = static_cast<std::uint32_t>(target - (at + opcode.size() + 4));
  std::string out(opcode);
  for (int i = 0; i < 4; ++i) out += static_cast<char>(displacement >> (8 * i));
  return out;
}
std::string exchange(LinkAddress at, LinkAddress variable) { return relative("\xf0\x0f\xb1\x15", at, variable); }
std::string call(LinkAddress at, LinkAddress target) { return relative("\xe8", at, target); }

Result<ResolvedPoint> find(const KernelImage& kernel, std::string_view text) {
  auto spec = PointSpec::parse(text);
  if (!spec) return spec.error();
  return resolve(kernel, *spec);
}
std::string refusal(const KernelImage& kernel, std::string_view text) {
  const auto point = find(kernel, text);
  EXPECT_FALSE(point) << text;
  if (point) return {};
  EXPECT_EQ(point.error().kind(), ErrorKind::kUnsupported);
  return point.error().message();
}

TEST(SyntheticKernel, GateInVpanicBehindADecoy) {
  KernelBuilder b;
  b.symbol(kData, 'D', "panic_redirect_cpu").symbol(kData + 4, 'D', "panic_cpu");
  const LinkAddress vpanic = b.here();
  std::string code = exchange(vpanic, kData);
  code += exchange(vpanic + code.size(), kData + 4) + "\x74\x00"s;
  b.function("vpanic", code + "\x90");
  b.function("panic", call(b.here(), vpanic) + "\x90");
  const KernelImage kernel = b.build();
  EXPECT_THAT(find(kernel, "panic/gate")->at, ElementsAre(vpanic + 16));
  EXPECT_EQ(panic_gate(kernel)->after_exchange, vpanic + 16);
  EXPECT_THAT(find(kernel, "panic/entry")->at, ElementsAre(vpanic));
}

TEST(SyntheticKernel, TwoGatesAreNone) {
  KernelBuilder b;
  b.symbol(kData, 'D', "panic_cpu");
  b.function("vpanic", exchange(b.here(), kData) + "\x90");
  b.function("panic", exchange(b.here(), kData) + "\x90");
  EXPECT_THAT(refusal(b.build(), "panic/gate"), HasSubstr("ambiguous"));
}

TEST(SyntheticKernel, NoGate) {
  KernelBuilder without_exchange;
  without_exchange.symbol(kData, 'D', "panic_cpu").function("panic", "\x90");
  EXPECT_THAT(refusal(without_exchange.build(), "panic/gate"), HasSubstr("none in vpanic() and panic()"));
  KernelBuilder without_variable;
  without_variable.function("panic", "\x90");
  EXPECT_THAT(refusal(without_variable.build(), "panic/gate"), HasSubstr("no variable panic_cpu"));
  KernelBuilder without_function;
  without_function.symbol(kData, 'D', "panic_cpu");
  EXPECT_THAT(refusal(without_function.build(), "panic/gate"), HasSubstr("no function"));
}

TEST(SyntheticKernel, AGateThatAJumpReachesIsNone) {
  KernelBuilder b;
  b.symbol(kData, 'D', "panic_cpu");
  b.function("panic", "\xeb\x08" + exchange(b.here() + 2, kData) + "\x90");  // jmp over the exchange
  EXPECT_THAT(refusal(b.build(), "panic/gate"), HasSubstr("also reached by a jump"));
}

// An oops that is to panic goes through a gate of its own.
TEST(SyntheticKernel, GateInCrashKexec) {
  KernelBuilder b;
  b.symbol(kData, 'D', "panic_cpu");
  const LinkAddress crash_kexec = b.here();
  b.function("crash_kexec", exchange(crash_kexec, kData) + "\x74\x00\x90"s);
  const KernelImage kernel = b.build();
  EXPECT_THAT(find(kernel, "crash_kexec/gate")->at, ElementsAre(crash_kexec + 8));
  EXPECT_EQ(find(kernel, "crash_kexec/won")->condition, PointCondition::kZeroFlagSet);
  EXPECT_THAT(refusal(kernel, "panic/gate"), HasSubstr("no function"));
}

// By 6.18 the exchange is in a function of its own, which crash_kexec() calls.
TEST(SyntheticKernel, GateInCrashKexecByPanicTryStart) {
  KernelBuilder b;
  b.symbol(kData, 'D', "panic_cpu");
  const LinkAddress try_start = b.here();
  b.function("panic_try_start", exchange(try_start, kData) + "\x0f\x94\xc0\xc3");  // sete al; ret
  const LinkAddress crash_kexec = b.here();
  b.function("crash_kexec", call(crash_kexec, try_start) + "\x84\xc0\xc3");
  const KernelImage kernel = b.build();
  EXPECT_THAT(find(kernel, "crash_kexec/gate")->at, ElementsAre(crash_kexec + 5));
  EXPECT_EQ(find(kernel, "crash_kexec/gate")->condition, PointCondition::kAlways);
  EXPECT_THAT(find(kernel, "crash_kexec/won")->at, ElementsAre(crash_kexec + 5));
  EXPECT_EQ(find(kernel, "crash_kexec/won")->condition, PointCondition::kAlNonZero);
}

TEST(SyntheticKernel, NmiEntryWithAndWithoutFred) {
  KernelBuilder b;
  const LinkAddress idt = b.here();
  b.function("exc_nmi", "\xc3");
  EXPECT_THAT(find(b.build(), "nmi/entry")->at, ElementsAre(idt));
  const LinkAddress fred = b.here();
  b.function("fred_exc_nmi", "\xc3");
  EXPECT_THAT(find(b.build(), "nmi/entry")->at, ElementsAre(idt, fred));
}

TEST(SyntheticKernel, UndecodableCodeIsRefused) {
  KernelBuilder b;
  b.symbol(kData, 'D', "panic_cpu");
  b.function("panic", exchange(b.here(), kData) + "\x90\x06");
  EXPECT_THAT(refusal(b.build(), "panic/gate"), HasSubstr("cannot be disassembled: at panic+0x9"));
}

TEST(SyntheticKernel, KexecMutex) {
  KernelBuilder b;
  b.symbol(kData, 'D', "kexec_mutex");
  const LinkAddress trylock = b.here();
  b.function("mutex_trylock", "\xc3");
  const LinkAddress crash = b.here();
  std::string code("\x48\xc7\xc7\x00\x00\x40\x82", 7);  // mov rdi, kexec_mutex
  code += call(crash + code.size(), trylock);
  b.function("__crash_kexec", code + "\x85\xc0");
  const auto point = find(b.build(), "__crash_kexec/lock-taken");
  ASSERT_TRUE(point) << point.error().message();
  EXPECT_THAT(point->at, ElementsAre(crash + 12));
  EXPECT_EQ(point->condition, PointCondition::kEaxNonZero);
}

TEST(SyntheticKernel, RenamedAndSplitFunctions) {
  KernelBuilder b;
  const LinkAddress callee = b.here();
  b.function("callee.constprop.0", "\xc3");
  const LinkAddress cold = b.here();
  b.function("caller.isra.0.cold", call(cold, callee) + "\xc3");
  b.function("caller.part.0", call(b.here(), callee) + "\xc3");
  const LinkAddress caller = b.here();
  b.function("caller.isra.0", relative("\x0f\x84", caller, cold) + "\xc3");
  const LinkAddress trampoline = b.here();
  b.function("__SCT__might_resched", "\xc3");
  b.function("uses_static_call", call(b.here(), trampoline) + "\xc3");
  const KernelImage kernel = b.build();
  EXPECT_THAT(find(kernel, "caller")->at, ElementsAre(caller));
  EXPECT_THAT(find(kernel, "caller/call:callee")->at, ElementsAre(cold));
  EXPECT_THAT(find(kernel, "caller/return")->at, ElementsAre(caller + 6, cold + 5));
  EXPECT_THAT(find(kernel, "caller/insn:\"jz caller.isra.0.cold\"")->at, ElementsAre(caller));
  EXPECT_TRUE(find(kernel, "uses_static_call/call:might_resched"));
  EXPECT_THAT(refusal(kernel, "caller/call:nobody"), HasSubstr("no function nobody"));
}

TEST(SyntheticKernel, OfTwoFunctionsOfANameTheOneBesideItsNeighbour) {
  KernelBuilder b;
  b.function("io_serial_out", "\xc3");
  EXPECT_THAT(refusal(b.build(), "8250/write"), HasSubstr("no io_serial_out() stands beside a mem_serial_out()"));
  b.symbol(KernelBuilder::kText + 0x2000, 't', "mem_serial_out");
  EXPECT_THAT(refusal(b.build(), "8250/write"), HasSubstr("no io_serial_out() stands beside a mem_serial_out()"));
  b.symbol(KernelBuilder::kText + 0x2040, 't', "io_serial_out");
  const auto point = find(b.build(), "8250/write");
  ASSERT_TRUE(point) << point.error().message();
  EXPECT_THAT(point->at, ElementsAre(KernelBuilder::kText + 0x2040));
  b.symbol(KernelBuilder::kText + 0x1f00, 't', "io_serial_out");
  EXPECT_THAT(refusal(b.build(), "8250/write"), HasSubstr("ambiguous"));
}

TEST(SyntheticKernel, AmbiguousNames) {
  KernelBuilder b;
  b.function("twice", "\xc3").function("twice", "\xc3");
  b.function("cloned.constprop.0", "\xc3").function("cloned.constprop.1", "\xc3");
  const KernelImage kernel = b.build();
  EXPECT_THAT(refusal(kernel, "twice"), HasSubstr("ambiguous"));
  EXPECT_THAT(refusal(kernel, "cloned"), HasSubstr("cloned.constprop.1"));
  EXPECT_TRUE(find(kernel, "cloned.constprop.1"));
}

// mov eax, [rdi + displacement]; ret
std::string apic_read(std::string_view displacement) { return "\x8b\x87" + std::string(displacement) + "\xc3"; }
constexpr std::string_view kUsualApic("\x00\xd0\x5f\xff", 4);
// With PROVIDE_OHCI1394_DMA_INIT there is one page more before it.
constexpr std::string_view kOtherApic("\x00\xc0\x5f\xff", 4);

TEST(SyntheticKernel, TheLocalApicIsWhereItsAccessorsSay) {
  EXPECT_EQ(*local_apic(KernelBuilder().function("native_apic_mem_read", apic_read(kUsualApic)).build()),
            LinkAddress{0xffffffffff5fd000});
  KernelBuilder twice;
  twice.function("native_apic_mem_read", apic_read(kOtherApic));
  twice.function("native_apic_mem_read", "\xf3\x0f\x1e\xfa" + apic_read(kOtherApic));      // endbr64
  twice.function("native_apic_mem_write", "\x89\xb7" + std::string(kOtherApic) + "\xc3");  // mov [rdi + ...], esi
  EXPECT_EQ(*local_apic(twice.build()), LinkAddress{0xffffffffff5fc000});
}

TEST(SyntheticKernel, TheLocalApicIsNotGuessed) {
  const auto why_not = [](const KernelBuilder& b) {
    const auto at = local_apic(b.build());
    return at ? "found" : at.error().message();
  };
  EXPECT_THAT(why_not(KernelBuilder()), HasSubstr("no native_apic_mem_read()"));
  // Not in the fixmap, and not a page's beginning.
  EXPECT_THAT(why_not(KernelBuilder().function("native_apic_mem_read", apic_read(std::string_view("\x00\xd0\0\0", 4)))),
              HasSubstr("is not found"));
  EXPECT_THAT(why_not(KernelBuilder().function("native_apic_mem_read", apic_read("\x10\xd0\x5f\xff"))),
              HasSubstr("is not found"));
  EXPECT_THAT(why_not(KernelBuilder()
                          .function("native_apic_mem_read", apic_read(kUsualApic))
                          .function("native_apic_mem_read", apic_read(kOtherApic))),
              HasSubstr("say 0xffffffffff5fc000 and 0xffffffffff5fd000"));
}

TEST(SyntheticKernel, IcrStoresGoByTheLocalApicsPlace) {
  const std::string store("\x89\x3c\x25\x00\xc3\x5f\xff", 7);
  const auto sites_with = [&](std::string_view apic) {
    KernelBuilder b;
    b.function("native_apic_mem_read", apic_read(apic)).function("send", store + "\xc3");
    return icr_stores(b.build());
  };
  ASSERT_TRUE(sites_with(kOtherApic));
  EXPECT_EQ(sites_with(kOtherApic)->size(), 1U);
  EXPECT_FALSE(sites_with(kUsualApic));
}

TEST(SyntheticKernel, IcrStoresInInitTextAreLeftOut) {
  const std::string store("\x89\x3c\x25\x00\xd3\x5f\xff", 7);
  KernelBuilder b;
  b.function("native_apic_mem_read", apic_read(kUsualApic));
  const LinkAddress at = b.here();
  b.function("send", "\x90" + store + "\xc3");
  b.function("decoy", "\x48\xb8\x90" + store + "\xc3");  // In the immediate of a movabs.
  b.init_text(store + "\xc3");
  const auto sites = icr_stores(b.build());
  ASSERT_TRUE(sites) << sites.error().message();
  ASSERT_EQ(sites->size(), 1U);
  EXPECT_EQ(sites->front().at, at + 1);
  EXPECT_EQ(sites->front().value, hypervisor::Gpr::kRdi);
  EXPECT_FALSE(icr_stores(KernelBuilder().build()));
}

TEST(SyntheticKernel, PauseLoopAnywhereInLastingText) {
  KernelBuilder b;
  b.function("decoy", "\x48\xb8\xf3\x90\xeb\xfc\x90\x90\x90\x90\xc3");
  const LinkAddress at = b.here();
  b.function("spin", "\x90\xf3\x90\xeb\xfc");
  EXPECT_EQ(*pause_loop(b.build()), at + 1);
  EXPECT_FALSE(pause_loop(KernelBuilder().init_text("\xf3\x90\xeb\xfc").build()));
}

}  // namespace
}  // namespace panicroom::kernels
