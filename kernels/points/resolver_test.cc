// Points in a real kernel. Needs one: PANICROOM_TEST_KERNEL names a vmlinuz or vmlinux; without it the tests are
// skipped. What the resolver says is compared with the bytes at that place, read here without its decoder.
#include "kernels/points/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "kernels/points/kernel_code.h"

namespace panicroom::kernels {
namespace {

using testing::HasSubstr;

class RealKernel : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* path = std::getenv("PANICROOM_TEST_KERNEL");
    if (path == nullptr) return;
    auto loaded = KernelImage::load(path);
    ASSERT_TRUE(loaded) << loaded.error().message();
    the_kernel = std::make_unique<KernelImage>(*std::move(loaded));
  }
  static void TearDownTestSuite() { the_kernel.reset(); }
  void SetUp() override {
    if (!the_kernel) GTEST_SKIP() << "PANICROOM_TEST_KERNEL is not set: it names the vmlinuz to look for points in";
  }

  static Result<ResolvedPoint> find(std::string_view text) {
    auto spec = PointSpec::parse(text);
    if (!spec) return spec.error();
    return resolve(*the_kernel, *spec);
  }
  static ResolvedPoint found(std::string_view text) {
    auto point = find(text);
    EXPECT_TRUE(point) << point.error().message();
    if (!point || point->at.empty()) return {};
    EXPECT_EQ(point->text, text);
    return *std::move(point);
  }
  static LinkAddress one(std::string_view text) {
    const auto point = found(text);
    EXPECT_EQ(point.at.size(), 1U) << text;
    return point.at.empty() ? LinkAddress{} : point.at.front();
  }
  static std::string message(std::string_view text) {
    const auto point = find(text);
    EXPECT_FALSE(point) << text << " is at " << point->how;
    if (point) return {};
    EXPECT_EQ(point.error().kind(), ErrorKind::kUnsupported);
    return point.error().message();
  }
  static LinkAddress symbol(std::string_view name) {
    const auto unique = the_kernel->symbols().unique(name);
    EXPECT_TRUE(unique) << unique.error().message();
    return unique ? unique->address : LinkAddress{};
  }
  static bool has(std::string_view name) { return !the_kernel->symbols().find(name).empty(); }
  static std::uint8_t byte(LinkAddress at) {
    const auto bytes = the_kernel->elf().bytes_at(at, 1);
    EXPECT_TRUE(bytes) << at.value;
    return bytes ? std::to_integer<std::uint8_t>(bytes->front()) : 0;
  }
  // The 32-bit little-endian displacement that ends at `end`, relative to it.
  static LinkAddress relative(LinkAddress end) {
    const auto bytes = the_kernel->elf().bytes_at(end - 4, 4);
    EXPECT_TRUE(bytes);
    const auto displacement = bytes ? load<std::int32_t>(*bytes, 0).value_or(0) : 0;
    return end + static_cast<std::uint64_t>(static_cast<std::int64_t>(displacement));
  }
  // Expects `f0 [44] 0f b1 /r disp32` to `variable` right before `after`.
  static void expect_exchange_before(LinkAddress after, std::string_view variable) {
    EXPECT_EQ(relative(after), symbol(variable));
    EXPECT_EQ(byte(after - 5) & 0xc7, 0x05);
    EXPECT_EQ(byte(after - 6), 0xb1);
    EXPECT_EQ(byte(after - 7), 0x0f);
    EXPECT_TRUE(byte(after - 8) == 0xf0 || (byte(after - 8) == 0x44 && byte(after - 9) == 0xf0));
  }

  static inline std::unique_ptr<KernelImage> the_kernel;
};

TEST_F(RealKernel, EveryNamedPointIsThere) {
  std::printf("%s\n", the_kernel->release().c_str());
  for (const auto& entry : kNamedPoints) {
    const auto point = found(entry.name);
    EXPECT_FALSE(point.at.empty()) << entry.name;
    std::printf("  %-26s %s\n", std::string(entry.name).c_str(), point.how.c_str());
  }
}

TEST_F(RealKernel, GateFollowsTheExchangeOnPanicCpu) {
  const LinkAddress gate = one("panic/gate");
  expect_exchange_before(gate, "panic_cpu");
  EXPECT_EQ(the_kernel->symbols().containing(gate)->symbol.name, has("vpanic") ? "vpanic" : "panic");
  EXPECT_EQ(panic_gate(*the_kernel)->after_exchange, gate);
  EXPECT_EQ(one("panic/won"), gate);
  EXPECT_EQ(found("panic/gate").condition, PointCondition::kAlways);
  EXPECT_EQ(found("panic/won").condition, PointCondition::kZeroFlagSet);
  const LinkAddress nmi = one("nmi_panic/gate");
  expect_exchange_before(nmi, "panic_cpu");
  EXPECT_NE(nmi, gate);
  const LinkAddress oops = one("crash_kexec/gate");
  if (has("panic_try_start")) {
    EXPECT_EQ(relative(oops), symbol("panic_try_start"));
    EXPECT_EQ(found("crash_kexec/won").condition, PointCondition::kAlNonZero);
  } else {
    expect_exchange_before(oops, "panic_cpu");
  }
  EXPECT_EQ(the_kernel->symbols().containing(oops)->symbol.name, "crash_kexec");
}

TEST_F(RealKernel, LockTakenFollowsTheTrylock) {
  const auto point = found("__crash_kexec/lock-taken");
  ASSERT_EQ(point.at.size(), 1U);
  EXPECT_EQ(the_kernel->symbols().containing(point.at.front())->symbol.name, "__crash_kexec");
  if (has("__kexec_lock")) {
    expect_exchange_before(point.at.front(), "__kexec_lock");
    EXPECT_EQ(point.condition, PointCondition::kZeroFlagSet);
  } else {
    EXPECT_EQ(byte(point.at.front() - 5), 0xe8);
    EXPECT_EQ(relative(point.at.front()), symbol("mutex_trylock"));
    EXPECT_EQ(point.condition, PointCondition::kEaxNonZero);
  }
}

TEST_F(RealKernel, EntriesAreTheirFunctions) {
  EXPECT_EQ(one("panic/entry"), symbol(has("vpanic") ? "vpanic" : "panic"));
  EXPECT_EQ(one("crash-stop/nmi"), symbol("crash_nmi_callback"));
  EXPECT_EQ(one("stop/nmi"), symbol("smp_stop_nmi_callback"));
  EXPECT_EQ(one("reset"), symbol("native_machine_emergency_restart"));
  EXPECT_EQ(found("nmi/entry").at.front(), symbol("exc_nmi"));
  EXPECT_EQ(one("panic"), symbol("panic"));
  const auto self = found("stop/self");
  EXPECT_THAT(self.at, testing::UnorderedElementsAre(symbol("panic_smp_self_stop"), symbol("nmi_panic_self_stop")));
}

TEST_F(RealKernel, KexecJumpIsTheCallThatLeavesTheKernel) {
  const LinkAddress jump = one("kexec/jump");
  EXPECT_EQ(the_kernel->symbols().containing(jump)->symbol.name, "machine_kexec");
  const LinkAddress call = byte(jump) == 0x2e ? jump + 1 : jump;  // 2e: the CS prefix that pads a patchable call.
  ASSERT_EQ(byte(call), 0xe8);
  const LinkAddress target = relative(call + 5);
  const auto names = the_kernel->symbols().containing(target);
  ASSERT_TRUE(names);
  EXPECT_EQ(names->offset, 0U);
  const Addresses thunks = addresses_with_prefix(*the_kernel, "__x86_indirect_thunk_");
  EXPECT_TRUE(target == symbol("relocate_kernel") || thunks.contains(target)) << names->symbol.name;
  EXPECT_LT(one("machine_kexec/insn:\"mov gs\""), jump);
}

TEST_F(RealKernel, IcrStoresAreThoseOfTheEncoding) {
  const auto sites = icr_stores(*the_kernel);
  ASSERT_TRUE(sites) << sites.error().message();
  EXPECT_GE(sites->size(), 3U);
  bool for_all_but_self = false;
  for (const auto& site : *sites) {
    const auto bytes = the_kernel->elf().bytes_at(site.at, site.length);
    ASSERT_TRUE(bytes);
    const std::string_view text = as_text(*bytes);
    ASSERT_GE(text.size(), 7U);
    EXPECT_EQ(text.substr(text.size() - 5), std::string_view("\x25\x00\xd3\x5f\xff", 5));
    const auto modrm = static_cast<unsigned char>(text[text.size() - 6]);
    EXPECT_EQ((modrm >> 3) & 7, static_cast<unsigned>(site.value) & 7);
    EXPECT_EQ(static_cast<unsigned char>(text[text.size() - 7]), 0x89);
    EXPECT_EQ(site.length == 8, static_cast<unsigned>(site.value) >= 8);
    const auto function = place_name(*the_kernel, site.at);
    std::printf("  ICR store %-44s %s\n", function.c_str(), std::string(hypervisor::name(site.value)).c_str());
    for_all_but_self = for_all_but_self || function.starts_with("default_send_IPI_allbutself+");
  }
  EXPECT_TRUE(for_all_but_self);
}

TEST_F(RealKernel, PauseLoopIsTwoInstructions) {
  const auto loop = pause_loop(*the_kernel);
  ASSERT_TRUE(loop) << loop.error().message();
  EXPECT_EQ(as_text(*the_kernel->elf().bytes_at(*loop, 4)), "\xf3\x90\xeb\xfc");
}

TEST_F(RealKernel, CallsAreFoundInTheColdPartToo) {
  const LinkAddress call = one("nmi_panic/call:nmi_panic_self_stop");
  EXPECT_TRUE(byte(call) == 0xe8 || byte(call) == 0xe9);  // Some compilers jump to what does not return.
  EXPECT_EQ(relative(call + 5), symbol("nmi_panic_self_stop"));
  const std::string panic = has("vpanic") ? "vpanic" : "panic";
  const LinkAddress first = one(panic + "/call:__crash_kexec");
  const LinkAddress second = one(panic + "/call:__crash_kexec#2");
  EXPECT_LT(first, second);
  EXPECT_EQ(relative(second + 5), symbol("__crash_kexec"));
  EXPECT_THAT(message(panic + "/call:__crash_kexec#3"), HasSubstr("only 2"));
  EXPECT_THAT(message(panic + "/call:do_idle"), HasSubstr("which calls "));
}

TEST_F(RealKernel, InstructionsByTheirText) {
  const std::string panic = has("vpanic") ? "vpanic" : "panic";
  const LinkAddress gate = one("panic/gate");
  const LinkAddress exchange = one(panic + "/insn:\"lock  cmpxchg [panic_cpu]\"");
  EXPECT_LT(exchange, gate);
  EXPECT_GE(exchange, gate - 9);
  EXPECT_THAT(message(panic + "/insn:\"lock cmpxch\""), HasSubstr("no instruction"));
  EXPECT_THAT(message(panic + "/insn:\"vmresume\""), HasSubstr("no instruction"));
}

TEST_F(RealKernel, Returns) {
  const auto point = found("crash_nmi_callback/return");
  ASSERT_FALSE(point.at.empty());
  for (const LinkAddress at : point.at) {
    EXPECT_TRUE(byte(at) == 0xc3 || byte(at) == 0xe9) << at.value;
    if (byte(at) == 0xe9) {
      EXPECT_EQ(relative(at + 5), symbol("__x86_return_thunk"));
    }
  }
  EXPECT_THAT(message("panic/return"), HasSubstr("never returns"));
}

TEST_F(RealKernel, OffsetsMustBeInstructions) {
  const LinkAddress gate = one("panic/gate");
  const LinkAddress base = the_kernel->symbols().containing(gate)->symbol.address;
  const std::string name(the_kernel->symbols().containing(gate)->symbol.name);
  EXPECT_EQ(one(fmt::format("{}+{:#x}", name, gate - base)), gate);
  EXPECT_THAT(message(fmt::format("{}+{:#x}", name, gate - base - 1)), HasSubstr("not the beginning"));
  EXPECT_THAT(message(name + "+0xffffff"), HasSubstr("behind the end"));
  EXPECT_THAT(message("no_such_function_anywhere"), HasSubstr("no function"));
  EXPECT_THAT(message("panic_cpu"), HasSubstr("data"));
}

}  // namespace
}  // namespace panicroom::kernels
