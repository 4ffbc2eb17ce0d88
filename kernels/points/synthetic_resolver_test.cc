// The resolver on small kernels made here: what real ones have only in some versions, and what it must refuse.
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "kernels/image/synthetic_kernel.h"
#include "kernels/points/resolver.h"

namespace panicroom::kernels {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr LinkAddress kText{testing::kSyntheticText};
constexpr LinkAddress kData{testing::kSyntheticData};
constexpr std::size_t kSlot = 64;  // Bytes for each function.

// Functions of one slot each, in the order in which they are added, filled up with int3.
class KernelBuilder {
 public:
  KernelBuilder() {
    symbol(kText, 'T', "_text");
    function("first_function", "\x90");
    symbol(LinkAddress{testing::kSyntheticRodata}, 'R', "linux_banner");
  }
  KernelBuilder& symbol(LinkAddress at, char type, std::string name) {
    symbols_.push_back({at.value, type, std::move(name)});
    return *this;
  }
  // Where the next function will be.
  [[nodiscard]] LinkAddress here() const { return kText + text_.size(); }
  KernelBuilder& function(const std::string& name, const std::string& code) {
    symbol(here(), 'T', name);
    text_ += code + std::string(kSlot - code.size(), '\xcc');
    return *this;
  }
  KernelBuilder& init_text(std::string code) {
    init_text_ = std::move(code);
    return *this;
  }

  [[nodiscard]] KernelImage build() const {
    auto symbols = symbols_;
    symbols.push_back({testing::kSyntheticInitText, 'T', "_sinittext"});
    for (int i = 0; i < 400; ++i) {  // As many as tables need to be told from chance.
      symbols.push_back({kText.value + 0x2000 + static_cast<std::uint64_t>(i) * 16, 't', "other_" + std::to_string(i)});
    }
    std::ranges::stable_sort(symbols, {}, &testing::SyntheticSymbol::address);
    const auto bytes = [](const std::string& s) {
      return std::vector<std::byte>(as_bytes(s).begin(), as_bytes(s).end());
    };
    auto rodata = bytes(std::string(testing::kSyntheticBanner) + "\n");
    rodata.resize(256);
    const testing::KallsymsOptions options;
    const auto tables = testing::encode_kallsyms(symbols, testing::kSyntheticRodata + rodata.size(), options);
    rodata.insert(rodata.end(), tables.begin(), tables.end());
    rodata.resize(rodata.size() + 64);
    std::string text = text_;
    text.resize(0x4000, '\x90');
    constexpr std::uint64_t kCode = SHF_ALLOC | SHF_EXECINSTR;
    auto elf = testing::build_elf({{".text", kText.value, kCode, bytes(text)},
                                   {".rodata", testing::kSyntheticRodata, SHF_ALLOC, std::move(rodata)},
                                   {".data", kData.value, SHF_ALLOC | SHF_WRITE, std::vector<std::byte>(64)},
                                   {".init.text", testing::kSyntheticInitText, kCode, bytes(init_text_)}});
    auto image = KernelImage::from_file_content("synthetic", std::move(elf));
    if (!image) throw std::runtime_error(image.error().message());
    return *std::move(image);
  }

 private:
  std::vector<testing::SyntheticSymbol> symbols_;
  std::string text_;
  std::string init_text_ = "\xcc";
};

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
  code += exchange(vpanic + code.size(), kData + 4) + "\x74\x00";
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

TEST(SyntheticKernel, AmbiguousNames) {
  KernelBuilder b;
  b.function("twice", "\xc3").function("twice", "\xc3");
  b.function("cloned.constprop.0", "\xc3").function("cloned.constprop.1", "\xc3");
  const KernelImage kernel = b.build();
  EXPECT_THAT(refusal(kernel, "twice"), HasSubstr("ambiguous"));
  EXPECT_THAT(refusal(kernel, "cloned"), HasSubstr("cloned.constprop.1"));
  EXPECT_TRUE(find(kernel, "cloned.constprop.1"));
}

TEST(SyntheticKernel, IcrStoresInInitTextAreLeftOut) {
  const std::string store("\x89\x3c\x25\x00\xd3\x5f\xff", 7);
  KernelBuilder b;
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
