#include "harness/observer/unwind.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "kernels/image/synthetic_kernel.h"

namespace panicroom::harness {
namespace {

using kernels::OrcBase;
using ::testing::ElementsAre;
namespace synthetic = kernels::testing;

constexpr KaslrSlide kSlide{0x3000000};
constexpr std::uint64_t kText = synthetic::kSyntheticText;
constexpr std::uint64_t kRunning = kText + kSlide.bytes;

template <typename T>
void put(std::vector<std::byte>& bytes, T value) {
  const auto at = bytes.size();
  bytes.resize(at + sizeof(T));
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

// Functions of 16 bytes each: 0 without a frame of its own, 1 with 16 bytes and BP saved, 2 that reckons by BP, 3 an
// exception's entry with pt_regs at SP, 4 the beginning of a thread.
kernels::ElfImage tables() {
  constexpr std::uint64_t kAddresses = synthetic::kSyntheticRodata;
  const auto flags = [](OrcBase sp, OrcBase bp, unsigned type) {
    return static_cast<std::uint16_t>(static_cast<unsigned>(sp) | static_cast<unsigned>(bp) << 4 | type << 8);
  };
  struct Row {
    std::int16_t sp, bp;
    std::uint16_t flags;
  };
  const std::vector<Row> rows = {{8, 0, flags(OrcBase::kSp, OrcBase::kUndefined, 0)},
                                 {24, -16, flags(OrcBase::kSp, OrcBase::kPreviousSp, 0)},
                                 {16, -16, flags(OrcBase::kBp, OrcBase::kPreviousSp, 0)},
                                 {0, 0, flags(OrcBase::kSp, OrcBase::kUndefined, 1)},
                                 {0, 0, 1U << 10}};
  std::vector<std::byte> addresses;
  std::vector<std::byte> entries;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    put(addresses, static_cast<std::int32_t>(static_cast<std::int64_t>(kText + 16 * i - (kAddresses + 4 * i))));
    put(entries, rows[i].sp);
    put(entries, rows[i].bp);
    put(entries, rows[i].flags);
  }
  auto image =
      kernels::ElfImage::parse(synthetic::build_elf({{".orc_unwind_ip", kAddresses, SHF_ALLOC, addresses},
                                                     {".orc_unwind", kAddresses + 0x1000, SHF_ALLOC, entries}}));
  EXPECT_TRUE(image) << image.error().message();
  return *std::move(image);
}

class UnwindTest : public ::testing::Test {
 protected:
  Backtrace trace(std::uint64_t rip, std::uint64_t rsp, std::uint64_t rbp, std::size_t most = 16) {
    hypervisor::Registers registers;
    registers.rip = rip;
    registers.rsp = rsp;
    registers.rbp = rbp;
    const RunningKernel kernel(image_, kSlide);
    return unwind(
        *kernels::OrcTable::find(tables_, {kText}), kernel, registers,
        [this](Gva at, std::span<std::byte> into) -> Result<> {
          const auto word = stack_.find(at.value);
          if (word == stack_.end()) return invalid_input("nothing at {}", at);
          std::memcpy(into.data(), &word->second, sizeof(word->second));
          return {};
        },
        most);
  }
  static std::uint64_t in(std::uint64_t function) { return kRunning + 16 * function + 8; }

  kernels::KernelImage image_ = *kernels::KernelImage::from_file_content("vmlinux", synthetic::build_kernel({}));
  kernels::ElfImage tables_ = tables();
  std::map<std::uint64_t, std::uint64_t> stack_;
};

TEST_F(UnwindTest, CallsAndSavedBasePointers) {
  stack_ = {{0x1000, in(1)},   // Function 0 was called by 1,
            {0x1010, 0x2000},  // which has saved BP,
            {0x1018, in(2)},   // and was called by 2,
            {0x2008, in(4)},   // whose return address is found by BP.
            {0x2000, 0x77}};
  const auto found = trace(in(0), 0x1000, 0x5555);
  EXPECT_THAT(found.callers, ElementsAre(Gva{in(1)}, Gva{in(2)}, Gva{in(4)}));
  EXPECT_TRUE(found.complete);
}

TEST_F(UnwindTest, AnExceptionLeadsToWhatItInterrupted) {
  stack_ = {{0x1000, in(3)},
            {0x1008 + 4 * 8, 0x2000},
            {0x1008 + 16 * 8, in(2) - 8},
            {0x1008 + 17 * 8, 0x10},
            {0x1008 + 19 * 8, 0x9000},
            {0x2008, in(4)},
            {0x2000, 0}};
  const auto found = trace(in(0), 0x1000, 0);
  EXPECT_THAT(found.callers, ElementsAre(Gva{in(3)}, Gva{in(2) - 8}, Gva{in(4)}))
      << "the first instruction of a function is in that function";
  EXPECT_TRUE(found.complete);

  stack_[0x1008 + 17 * 8] = 0x33;  // It came from user space.
  const auto from_user = trace(in(0), 0x1000, 0);
  EXPECT_THAT(from_user.callers, ElementsAre(Gva{in(3)}));
  EXPECT_TRUE(from_user.complete);
}

TEST_F(UnwindTest, AStackThatMakesNoSenseEndsIt) {
  EXPECT_THAT(trace(in(0), 0x1000, 0).callers, ElementsAre());
  stack_ = {{0x1000, 0x1234}};
  EXPECT_THAT(trace(in(0), 0x1000, 0).callers, ElementsAre());
  EXPECT_FALSE(trace(in(0), 0x1000, 0).complete);
  EXPECT_THAT(trace(0x1234, 0x1000, 0).callers, ElementsAre());
}

TEST_F(UnwindTest, ACircleEnds) {
  stack_ = {{0x2008, in(2)}, {0x2000, 0x2000}};
  EXPECT_EQ(trace(in(2), 0x1000, 0x2000, 7).callers.size(), 7u);
}

}  // namespace
}  // namespace panicroom::harness
