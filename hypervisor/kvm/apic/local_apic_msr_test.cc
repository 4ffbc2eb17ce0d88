// The local APIC by its MSRs: SDM Vol. 3, 11.4.4, 11.5.4.1 and 11.12.
#include <gtest/gtest.h>

#include "hypervisor/kvm/apic/local_apic.h"

namespace panicroom::kvm {
namespace {

using namespace std::chrono_literals;
using Mode = LocalApic::Mode;

constexpr Now kNow{.clock = 1000ns, .tsc = 1000};
constexpr std::uint64_t kDisabled = apic::kDefaultBase;
constexpr std::uint64_t kXapic = apic::kDefaultBase | apic::kApicBaseEnable;
constexpr std::uint64_t kX2apic = kXapic | apic::kApicBaseX2apic;
constexpr std::uint32_t msr_of(std::uint32_t offset) { return apic::kX2apicMsrs + offset / 16; }

class LocalApicMsrTest : public testing::Test {
 protected:
  bool set_base(std::uint64_t value) { return apic_.write_msr(apic::kMsrApicBase, value, kNow).has_value(); }
  void enter_x2apic() {
    ASSERT_TRUE(set_base(kX2apic));
    ASSERT_TRUE(write(apic::kSvr, 0x1ff));
  }
  std::optional<std::uint64_t> read(std::uint32_t offset) { return apic_.read_msr(msr_of(offset), kNow); }
  std::optional<Effects> write(std::uint32_t offset, std::uint64_t value) {
    return apic_.write_msr(msr_of(offset), value, kNow);
  }

  LocalApic apic_{0x25, false, 1'000'000};
};

TEST_F(LocalApicMsrTest, ApicBaseTellsModeAndBootstrapProcessor) {
  EXPECT_EQ(apic_.read_msr(apic::kMsrApicBase, kNow), kXapic);
  LocalApic bootstrap(0, true, 1'000'000);
  EXPECT_EQ(bootstrap.read_msr(apic::kMsrApicBase, kNow), kXapic | apic::kApicBaseBootstrap);
  ASSERT_TRUE(bootstrap.write_msr(apic::kMsrApicBase, kXapic, kNow));
  EXPECT_EQ(bootstrap.read_msr(apic::kMsrApicBase, kNow), kXapic | apic::kApicBaseBootstrap);
}

// Figure 11-27.
TEST_F(LocalApicMsrTest, ModesChangeOnlyAsTheyMay) {
  EXPECT_FALSE(set_base(kDisabled | apic::kApicBaseX2apic));
  EXPECT_EQ(apic_.mode(), Mode::kXapic);
  EXPECT_TRUE(set_base(kX2apic));
  EXPECT_EQ(apic_.mode(), Mode::kX2apic);
  EXPECT_TRUE(set_base(kX2apic));
  EXPECT_FALSE(set_base(kXapic));
  EXPECT_FALSE(set_base(kDisabled | apic::kApicBaseX2apic));
  EXPECT_EQ(apic_.mode(), Mode::kX2apic);
  EXPECT_TRUE(set_base(kDisabled));
  EXPECT_EQ(apic_.mode(), Mode::kDisabled);
  EXPECT_FALSE(set_base(kX2apic));
  EXPECT_FALSE(set_base(kDisabled | apic::kApicBaseX2apic));
  EXPECT_TRUE(set_base(kXapic));
  EXPECT_EQ(apic_.mode(), Mode::kXapic);
}

TEST_F(LocalApicMsrTest, ReservedBitsOfApicBaseAreRefused) {
  EXPECT_FALSE(set_base(kXapic | 1));
  EXPECT_FALSE(set_base(kXapic | (1U << 9)));
  EXPECT_FALSE(set_base(kXapic | (1ull << 52)));
  EXPECT_TRUE(set_base(0x1'2345'6000 | apic::kApicBaseEnable));
  EXPECT_EQ(apic_.base(), 0x1'2345'6000U);
}

TEST_F(LocalApicMsrTest, DisabledItHearsNothingAndForgets) {
  apic_.write(apic::kSvr, 0x1ff, kNow);
  apic_.accept({.vector = 0x40});
  ASSERT_TRUE(set_base(kDisabled));
  EXPECT_EQ(apic_.deliverable(), std::nullopt);
  EXPECT_FALSE(apic_.accept({.vector = 0x40}));
  EXPECT_FALSE(apic_.accept({.mode = DeliveryMode::kNmi}));
  EXPECT_FALSE(apic_.accept({.mode = DeliveryMode::kInit}));
  EXPECT_FALSE(apic_.trigger(Lvt::kLint1));
  EXPECT_EQ(apic_.read(apic::kVersion, kNow), 0xffff'ffffU);
  EXPECT_EQ(apic_.write(apic::kIcrLow, 0x4040, kNow), Effects{});
  EXPECT_FALSE(read(apic::kVersion));
  // The pin is another matter.
  apic_.raise_nmi();
  EXPECT_TRUE(apic_.take_nmi());
}

TEST_F(LocalApicMsrTest, TheX2apicsMsrsAreThereOnlyInItsMode) {
  EXPECT_FALSE(read(apic::kVersion));
  EXPECT_FALSE(write(apic::kTpr, 0));
  enter_x2apic();
  EXPECT_EQ(read(apic::kVersion), 0x0005'0014U);
  EXPECT_TRUE(write(apic::kTpr, 0x20));
  EXPECT_EQ(read(apic::kTpr), 0x20U);
  EXPECT_EQ(apic_.cr8(), 2);
  // And the page only in the other.
  EXPECT_EQ(apic_.read(apic::kTpr, kNow), 0xffff'ffffU);
  EXPECT_EQ(apic_.write(apic::kTpr, 0, kNow), Effects{});
  EXPECT_EQ(apic_.cr8(), 2);
}

TEST_F(LocalApicMsrTest, IdsHave32Bits) {
  enter_x2apic();
  EXPECT_EQ(read(apic::kId), 0x25U);
  EXPECT_EQ(read(apic::kLdr), 0x0002'0020U);
  EXPECT_TRUE(apic_.addressed_by({.address = 0x0002'0021, .logical = true}));
  EXPECT_FALSE(apic_.addressed_by({.address = 0x0002'001f, .logical = true}));
  EXPECT_FALSE(apic_.addressed_by({.address = 0x0001'0020, .logical = true}));
  EXPECT_TRUE(apic_.addressed_by({.address = Destination::kBroadcast, .logical = true}));
  EXPECT_TRUE(apic_.addressed_by({.address = Destination::kBroadcast}));
  EXPECT_TRUE(apic_.addressed_by({.address = 0x25}));
  EXPECT_FALSE(apic_.addressed_by({.address = 0xff}));
}

// Table 11-6.
TEST_F(LocalApicMsrTest, WhatIsNoMsrOrNotToBeReadOrWrittenIsRefused) {
  enter_x2apic();
  for (const auto offset : {apic::kApr, apic::kEoi, apic::kRrd, apic::kDfr, apic::kLvtCmci, apic::kIcrHigh,
                            apic::kSelfIpi, 0x000U, 0x3d0U}) {
    EXPECT_FALSE(read(offset)) << offset;
  }
  for (const auto offset :
       {apic::kId, apic::kVersion, apic::kApr, apic::kPpr, apic::kRrd, apic::kLdr, apic::kDfr, apic::kIsr, apic::kTmr,
        apic::kIrr, apic::kLvtCmci, apic::kIcrHigh, apic::kCurrentCount, 0x000U, 0x3d0U}) {
    EXPECT_FALSE(write(offset, 0)) << offset;
  }
  for (std::uint32_t msr = 0x840; msr < 0x900; ++msr) {
    EXPECT_TRUE(LocalApic::owns_msr(msr));
    EXPECT_FALSE(apic_.read_msr(msr, kNow));
    EXPECT_FALSE(apic_.write_msr(msr, 0, kNow));
  }
  EXPECT_FALSE(LocalApic::owns_msr(0x900));
  EXPECT_FALSE(apic_.read_msr(0x900, kNow));
  EXPECT_FALSE(LocalApic::owns_msr(0x7ff));
  EXPECT_TRUE(LocalApic::owns_msr(0x800));
  EXPECT_TRUE(LocalApic::owns_msr(apic::kMsrApicBase));
  EXPECT_TRUE(LocalApic::owns_msr(apic::kMsrTscDeadline));
  EXPECT_EQ(read(apic::kEsr), 0U);
}

TEST_F(LocalApicMsrTest, ReservedBitsAreRefused) {
  enter_x2apic();
  const std::pair<std::uint32_t, std::uint64_t> refused[] = {
      {apic::kTpr, 0x100},
      {apic::kEoi, 1},
      {apic::kEsr, 1},
      {apic::kSvr, 0x400},
      {apic::kIcrLow, 1U << 13},
      {apic::kIcrLow, 1U << 16},
      {apic::kIcrLow, 1U << 20},
      {apic::kLvtTimer, 1U << 19},
      {apic::kLvtTimer, 1U << 8},
      {apic::kLvtLint0, 1U << 17},
      {apic::kLvtError, 1ull << 32},
      {apic::kInitialCount, 1ull << 32},
      {apic::kDivideConfiguration, 4},
      {apic::kSelfIpi, 0x100},
  };
  for (const auto& [offset, value] : refused) EXPECT_FALSE(write(offset, value)) << offset << " " << value;
  // What is read-only in an LVT entry is not reserved.
  EXPECT_TRUE(write(apic::kLvtLint0, 0x5040));
  EXPECT_EQ(read(apic::kLvtLint0), 0x40U);
}

TEST_F(LocalApicMsrTest, TheIcrIsOneRegister) {
  enter_x2apic();
  const auto effects = write(apic::kIcrLow, 0x0000'0007'0000'4830);
  ASSERT_TRUE(effects && effects->icr);
  EXPECT_EQ(effects->icr->destination, (Destination{.address = 7, .logical = true}));
  EXPECT_EQ(effects->icr->vector, 0x30);
  EXPECT_EQ(read(apic::kIcrLow), 0x0000'0007'0000'4830U);
}

TEST_F(LocalApicMsrTest, TheXapicsDestinationMeansNothingInX2apicMode) {
  apic_.write(apic::kIcrHigh, 0x0200'0000, kNow);
  enter_x2apic();
  EXPECT_EQ(read(apic::kIcrLow), 0U);
  ASSERT_TRUE(write(apic::kIcrLow, 0x0000'0007'0000'4830));
  ASSERT_TRUE(set_base(kX2apic));
  EXPECT_EQ(read(apic::kIcrLow), 0x0000'0007'0000'4830U);
}

TEST_F(LocalApicMsrTest, ATimerThatIsDueHasFiredWhenAnMsrIsReadOrWritten) {
  enter_x2apic();
  ASSERT_TRUE(write(apic::kLvtTimer, 0xec));
  ASSERT_TRUE(write(apic::kInitialCount, 10));
  EXPECT_EQ(apic_.read_msr(msr_of(apic::kIrr + 0x70), {.clock = 2000ns}), 1U << 12);
  apic_.acknowledge();
  ASSERT_TRUE(write(apic::kInitialCount, 10));
  ASSERT_TRUE(apic_.write_msr(msr_of(apic::kInitialCount), 0, {.clock = 2000ns}));
  EXPECT_TRUE(apic_.irr().contains(0xec));
}

TEST_F(LocalApicMsrTest, SelfIpi) {
  enter_x2apic();
  const auto effects = write(apic::kSelfIpi, 0x41);
  ASSERT_TRUE(effects && effects->icr);
  EXPECT_EQ(effects->icr->shorthand, Shorthand::kSelf);
  EXPECT_EQ(effects->icr->mode, DeliveryMode::kFixed);
  EXPECT_EQ(effects->icr->vector, 0x41);
  const auto illegal = write(apic::kSelfIpi, 0x0f);
  ASSERT_TRUE(illegal);
  EXPECT_FALSE(illegal->icr);
  ASSERT_TRUE(write(apic::kEsr, 0));
  EXPECT_EQ(read(apic::kEsr), apic::kEsrSendIllegalVector);
}

TEST_F(LocalApicMsrTest, InterruptsAreServedThere) {
  enter_x2apic();
  apic_.accept({.vector = 0x31, .trigger = TriggerMode::kLevel});
  EXPECT_EQ(read(apic::kIrr + 0x10), 1U << 17);
  EXPECT_EQ(read(apic::kTmr + 0x10), 1U << 17);
  EXPECT_EQ(apic_.acknowledge(), 0x31);
  EXPECT_EQ(read(apic::kIsr + 0x10), 1U << 17);
  EXPECT_EQ(read(apic::kPpr), 0x30U);
  EXPECT_EQ(write(apic::kEoi, 0)->eoi_vector, 0x31);
}

// 11.12.5.1.
TEST_F(LocalApicMsrTest, InitDoesNotLeaveX2apicMode) {
  enter_x2apic();
  apic_.accept({.mode = DeliveryMode::kInit});
  ASSERT_TRUE(apic_.take_init());
  EXPECT_EQ(apic_.mode(), Mode::kX2apic);
  EXPECT_EQ(read(apic::kSvr), 0xffU);
  EXPECT_EQ(read(apic::kId), 0x25U);
  apic_.reset();
  EXPECT_EQ(apic_.mode(), Mode::kXapic);
}

TEST_F(LocalApicMsrTest, ADeadlineInterruptsInEitherMode) {
  apic_.write(apic::kSvr, 0x1ff, kNow);
  apic_.write(apic::kLvtTimer, 0x4'00ec, kNow);
  ASSERT_TRUE(apic_.write_msr(apic::kMsrTscDeadline, 1500, kNow));
  EXPECT_EQ(apic_.read_msr(apic::kMsrTscDeadline, kNow), 1500U);
  EXPECT_EQ(apic_.next_timer(kNow), 1500ns);
  EXPECT_FALSE(apic_.advance({.clock = 1499ns, .tsc = 1499}));
  EXPECT_TRUE(apic_.advance({.clock = 1500ns, .tsc = 1500}));
  EXPECT_EQ(apic_.acknowledge(), 0xec);
  EXPECT_EQ(apic_.read_msr(apic::kMsrTscDeadline, kNow), 0U);
  apic_.write(apic::kEoi, 0, kNow);
  // One that has passed already, at once.
  ASSERT_TRUE(apic_.write_msr(apic::kMsrTscDeadline, 1, kNow));
  EXPECT_EQ(apic_.deliverable(), 0xec);
}

TEST_F(LocalApicMsrTest, ADeadlineThatPassesMaskedIsGone) {
  apic_.write(apic::kSvr, 0x1ff, kNow);
  apic_.write(apic::kLvtTimer, 0x5'00ec, kNow);
  ASSERT_TRUE(apic_.write_msr(apic::kMsrTscDeadline, 1500, kNow));
  EXPECT_EQ(apic_.next_timer(kNow), std::nullopt);
  const Now later{.clock = 2000ns, .tsc = 2000};
  apic_.write(apic::kLvtTimer, 0x4'00ec, later);
  EXPECT_EQ(apic_.next_timer(later), std::nullopt);
  EXPECT_EQ(apic_.deliverable(), std::nullopt);
}

}  // namespace
}  // namespace panicroom::kvm
