// The local APIC as an xAPIC, along SDM Vol. 3, 11.4 to 11.9.
#include "hypervisor/kvm/apic/local_apic.h"

#include <gtest/gtest.h>

namespace panicroom::kvm {
namespace {

using namespace std::chrono_literals;

constexpr Now kNow{.clock = 1000ns, .tsc = 1000};

Message fixed(std::uint8_t vector, TriggerMode trigger = TriggerMode::kEdge) {
  return {.mode = DeliveryMode::kFixed, .vector = vector, .trigger = trigger};
}
constexpr Message kNmi{.mode = DeliveryMode::kNmi};
constexpr Message kInit{.mode = DeliveryMode::kInit};
Message startup(std::uint8_t vector) { return {.mode = DeliveryMode::kStartup, .vector = vector}; }

class LocalApicTest : public testing::Test {
 protected:
  LocalApicTest() { apic_.write(apic::kSvr, 0x1ff, kNow); }

  std::uint32_t esr() {
    apic_.write(apic::kEsr, 0, kNow);
    return apic_.read(apic::kEsr, kNow);
  }
  std::uint32_t read(std::uint32_t offset) { return apic_.read(offset, kNow); }
  Effects write(std::uint32_t offset, std::uint32_t value) { return apic_.write(offset, value, kNow); }
  std::optional<std::uint8_t> eoi() { return write(apic::kEoi, 0).eoi_vector; }

  LocalApic apic_{3, true, 1'000'000};
};

// --- 11.4: state.

TEST(LocalApic, StartsAsAfterPowerUp) {
  LocalApic apic(3, false, 1'000'000);
  EXPECT_EQ(apic.mode(), LocalApic::Mode::kXapic);
  EXPECT_EQ(apic.base(), 0xfee0'0000U);
  EXPECT_FALSE(apic.software_enabled());
  EXPECT_EQ(apic.state(), ProcessorState::kWaitForSipi);
  EXPECT_EQ(apic.read(apic::kId, kNow), 3U << 24);
  EXPECT_EQ(apic.read(apic::kVersion, kNow), 0x0005'0014U);
  EXPECT_EQ(apic.read(apic::kSvr, kNow), 0xffU);
  EXPECT_EQ(apic.read(apic::kDfr, kNow), 0xffff'ffffU);
  for (const auto offset : {apic::kTpr, apic::kPpr, apic::kLdr, apic::kIcrLow, apic::kIcrHigh, apic::kInitialCount,
                            apic::kCurrentCount, apic::kDivideConfiguration, apic::kEsr}) {
    EXPECT_EQ(apic.read(offset, kNow), 0U) << offset;
  }
  for (std::uint32_t offset = apic::kLvtTimer; offset <= apic::kLvtError; offset += 0x10) {
    EXPECT_EQ(apic.read(offset, kNow), apic::kLvtMasked) << offset;
  }
  for (std::uint32_t offset = apic::kIsr; offset < apic::kEsr; offset += 0x10) {
    EXPECT_EQ(apic.read(offset, kNow), 0U) << offset;
  }
  EXPECT_EQ(LocalApic(0, true, 1'000'000).state(), ProcessorState::kRunning);
}

TEST_F(LocalApicTest, WhileDisabledBySoftwareOnlyFixedInterruptsAreNotAccepted) {
  ASSERT_TRUE(apic_.accept(fixed(0x40)));
  write(apic::kLvtTimer, 0x31);
  write(apic::kSvr, 0xff);
  EXPECT_EQ(read(apic::kLvtTimer), apic::kLvtMasked | 0x31);
  write(apic::kLvtTimer, 0x32);
  EXPECT_EQ(read(apic::kLvtTimer), apic::kLvtMasked | 0x32);
  EXPECT_FALSE(apic_.accept(fixed(0x50)));
  EXPECT_TRUE(apic_.accept(kNmi));
  EXPECT_TRUE(apic_.accept(kInit));
  // What was pending is still to be handled.
  EXPECT_EQ(apic_.deliverable(), 0x40);
  write(apic::kSvr, 0x1ff);
  EXPECT_TRUE(apic_.accept(fixed(0x50)));
}

TEST_F(LocalApicTest, RegistersKeepWhatIsDefined) {
  const std::pair<std::uint32_t, std::uint32_t> kept[] = {
      {apic::kTpr, 0xff},
      {apic::kLdr, 0xff00'0000},
      {apic::kDfr, 0xffff'ffff},
      {apic::kSvr, 0x3ff},
      {apic::kIcrHigh, 0xff00'0000},
      {apic::kLvtTimer, 0x7'00ff},
      {apic::kLvtThermal, 0x1'07ff},
      {apic::kLvtPerformance, 0x1'07ff},
      {apic::kLvtLint0, 0x1'a7ff},
      {apic::kLvtLint1, 0x1'a7ff},
      {apic::kLvtError, 0x1'00ff},
      {apic::kInitialCount, 0xffff'ffff},
      {apic::kDivideConfiguration, 0xb},
  };
  for (const auto& [offset, value] : kept) {
    if (offset == apic::kInitialCount) write(apic::kLvtTimer, 0);  // A mode that counts.
    write(offset, 0xffff'ffff);
    EXPECT_EQ(read(offset), value) << offset;
  }
  for (const auto offset : {apic::kId, apic::kVersion, apic::kPpr, apic::kCurrentCount, apic::kIsr, apic::kIrr}) {
    const auto before = read(offset);
    write(offset, 0x1234'5678);
    EXPECT_EQ(read(offset), before) << offset;
  }
  EXPECT_EQ(esr(), 0U);
}

// --- 11.5.3: errors.

TEST_F(LocalApicTest, ARegisterThatIsNotThereIsAnError) {
  EXPECT_EQ(read(0x2f0), 0U);  // No CMCI.
  EXPECT_EQ(esr(), apic::kEsrIllegalRegister);
  EXPECT_EQ(esr(), 0U);
  for (const std::uint32_t offset : {0x000U, 0x014U, 0x040U, 0x3f0U, 0x400U, 0xff0U, 0xffcU, 0xffff'ffffU}) {
    write(offset, 0xffff'ffff);
    EXPECT_EQ(esr(), apic::kEsrIllegalRegister) << offset;
    read(offset);
    EXPECT_EQ(esr(), apic::kEsrIllegalRegister) << offset;
  }
}

TEST_F(LocalApicTest, VectorsBelow16AreErrors) {
  EXPECT_FALSE(apic_.accept(fixed(15)));
  EXPECT_EQ(read(apic::kEsr), 0U);  // Until it is written.
  EXPECT_EQ(esr(), apic::kEsrReceiveIllegalVector);
  EXPECT_TRUE(apic_.accept(fixed(16)));
  EXPECT_FALSE(write(apic::kIcrLow, 0x400f).icr);
  EXPECT_EQ(esr(), apic::kEsrSendIllegalVector);
  EXPECT_TRUE(write(apic::kIcrLow, 0x4400).icr);  // An NMI's vector has no meaning.
  EXPECT_EQ(esr(), 0U);
}

TEST_F(LocalApicTest, TheFirstErrorInterrupts) {
  write(apic::kLvtError, 0xfe);
  read(0x2f0);
  EXPECT_EQ(apic_.acknowledge(), 0xfe);
  eoi();
  read(0x2f0);
  EXPECT_EQ(apic_.deliverable(), std::nullopt);
  esr();
  read(0x2f0);
  EXPECT_EQ(apic_.deliverable(), 0xfe);
}

TEST_F(LocalApicTest, TheErrorInterruptMayHaveTheLowestLegalVector) {
  write(apic::kLvtError, 16);
  read(0x2f0);
  EXPECT_TRUE(apic_.irr().contains(16));
  EXPECT_EQ(esr(), apic::kEsrIllegalRegister);
}

TEST_F(LocalApicTest, AnErrorInterruptWithAnIllegalVectorIsOneMoreError) {
  write(apic::kLvtError, 0x05);
  read(0x2f0);
  EXPECT_EQ(apic_.deliverable(), std::nullopt);
  EXPECT_EQ(esr(), apic::kEsrIllegalRegister | apic::kEsrReceiveIllegalVector);
}

// --- 11.5.1: local interrupts.

TEST_F(LocalApicTest, ALocalInterruptIsWhatItsEntrySays) {
  EXPECT_FALSE(apic_.trigger(Lvt::kLint0));
  write(apic::kLvtLint0, 0x40);
  EXPECT_TRUE(apic_.trigger(Lvt::kLint0));
  EXPECT_EQ(apic_.acknowledge(), 0x40);
  write(apic::kLvtLint1, 0x0400);
  EXPECT_TRUE(apic_.trigger(Lvt::kLint1));
  EXPECT_TRUE(apic_.take_nmi());
  write(apic::kLvtThermal, 0x0500);
  EXPECT_TRUE(apic_.trigger(Lvt::kThermal));
  EXPECT_TRUE(apic_.init_pending());
  for (const std::uint32_t mode : {1U, 2U, 3U, 6U, 7U}) {
    write(apic::kLvtLint0, 0x41 | (mode << 8));
    EXPECT_FALSE(apic_.trigger(Lvt::kLint0)) << mode;
  }
  EXPECT_FALSE(apic_.irr().contains(0x41));
}

TEST_F(LocalApicTest, APerformanceInterruptMasksItself) {
  write(apic::kLvtPerformance, 0x0400);
  EXPECT_TRUE(apic_.trigger(Lvt::kPerformance));
  EXPECT_EQ(read(apic::kLvtPerformance), apic::kLvtMasked | 0x0400);
  EXPECT_FALSE(apic_.trigger(Lvt::kPerformance));
}

TEST_F(LocalApicTest, TheTimerInterruptsUnlessMasked) {
  write(apic::kLvtTimer, 0x2'00ec);  // Periodic.
  write(apic::kDivideConfiguration, 0xb);
  apic_.write(apic::kInitialCount, 500'000, {.clock = 1ms});
  EXPECT_EQ(apic_.next_timer({.clock = 1ms}), 1500us);
  EXPECT_FALSE(apic_.advance({.clock = 1499us}));
  EXPECT_TRUE(apic_.advance({.clock = 1500us}));
  EXPECT_EQ(apic_.acknowledge(), 0xec);
  apic_.write(apic::kEoi, 0, {.clock = 1600us});
  apic_.write(apic::kLvtTimer, 0x3'00ec, {.clock = 1600us});
  EXPECT_EQ(apic_.next_timer({.clock = 1600us}), std::nullopt);
  EXPECT_FALSE(apic_.advance({.clock = 2000us}));
  // It has gone on counting.
  EXPECT_EQ(apic_.read(apic::kCurrentCount, {.clock = 2100us}), 400'000U);
  EXPECT_EQ(apic_.deliverable(), std::nullopt);
}

TEST_F(LocalApicTest, ATimerThatIsDueIsNotLostToAWrite) {
  write(apic::kLvtTimer, 0x00ec);
  write(apic::kDivideConfiguration, 0xb);
  write(apic::kInitialCount, 500);
  apic_.write(apic::kInitialCount, 700, {.clock = 1600ns});
  EXPECT_EQ(apic_.deliverable(), 0xec);
  EXPECT_EQ(apic_.next_timer({.clock = 1600ns}), 2300ns);
}

// --- 11.6: sending.

TEST_F(LocalApicTest, AStoreToTheLowHalfOfTheIcrSends) {
  EXPECT_EQ(write(apic::kIcrHigh, 0x0200'0000), Effects{});
  const auto effects = write(apic::kIcrLow, 0x48f8);
  ASSERT_TRUE(effects.icr);
  EXPECT_EQ(effects.icr, decode_icr(0x48f8, 0x0200'0000, false));
  EXPECT_EQ(read(apic::kIcrLow), 0x48f8U);
  // The delivery status and what is reserved read as 0.
  write(apic::kIcrLow, 0xffff'ffff);
  EXPECT_EQ(read(apic::kIcrLow), 0x000c'cfffU);
  EXPECT_FALSE(write(apic::kIcrLow, 0x4730).icr);
}

// --- 11.6.2: destinations.

TEST_F(LocalApicTest, AnswersToItsPhysicalIdAndToTheBroadcast) {
  EXPECT_TRUE(apic_.addressed_by({.address = 3}));
  EXPECT_FALSE(apic_.addressed_by({.address = 0}));
  EXPECT_FALSE(apic_.addressed_by({.address = 0xff}));
  EXPECT_TRUE(apic_.addressed_by({.address = Destination::kBroadcast}));
}

TEST_F(LocalApicTest, AnswersToItsBitInTheFlatModel) {
  EXPECT_FALSE(apic_.addressed_by({.address = 0xfe, .logical = true}));
  EXPECT_TRUE(apic_.addressed_by({.address = Destination::kBroadcast, .logical = true}));
  write(apic::kLdr, 0x0800'0000);
  EXPECT_TRUE(apic_.addressed_by({.address = 0x0c, .logical = true}));
  EXPECT_FALSE(apic_.addressed_by({.address = 0x07, .logical = true}));
  EXPECT_FALSE(apic_.addressed_by({.address = 0x108, .logical = true}));
}

TEST_F(LocalApicTest, AnswersInItsClusterOnly) {
  write(apic::kDfr, 0x0fff'ffff);
  write(apic::kLdr, 0x2400'0000);
  EXPECT_TRUE(apic_.addressed_by({.address = 0x26, .logical = true}));
  EXPECT_FALSE(apic_.addressed_by({.address = 0x22, .logical = true}));
  EXPECT_FALSE(apic_.addressed_by({.address = 0x14, .logical = true}));
}

// --- 11.8: accepting, priorities, EOI.

TEST_F(LocalApicTest, AnInterruptGoesThroughIrrAndIsr) {
  apic_.accept(fixed(0x31));
  EXPECT_EQ(read(apic::kIrr + 0x10), 1U << 17);
  EXPECT_EQ(apic_.deliverable(), 0x31);
  EXPECT_EQ(apic_.acknowledge(), 0x31);
  EXPECT_EQ(read(apic::kIrr + 0x10), 0U);
  EXPECT_EQ(read(apic::kIsr + 0x10), 1U << 17);
  EXPECT_EQ(read(apic::kPpr), 0x30U);
  EXPECT_EQ(eoi(), std::nullopt);
  EXPECT_EQ(read(apic::kIsr + 0x10), 0U);
  EXPECT_EQ(read(apic::kPpr), 0U);
  EXPECT_EQ(eoi(), std::nullopt);  // Of nothing.
}

TEST_F(LocalApicTest, OneMoreOfAVectorWaitsInIrrWhileTheFirstIsServed) {
  apic_.accept(fixed(0x31));
  apic_.acknowledge();
  apic_.accept(fixed(0x31));
  apic_.accept(fixed(0x31));
  EXPECT_EQ(apic_.deliverable(), std::nullopt);
  eoi();
  EXPECT_EQ(apic_.acknowledge(), 0x31);
  eoi();
  EXPECT_EQ(apic_.deliverable(), std::nullopt);
}

TEST_F(LocalApicTest, OnlyAHigherClassInterruptsWhatIsServed) {
  apic_.accept(fixed(0x45));
  apic_.acknowledge();
  apic_.accept(fixed(0x4f));
  EXPECT_EQ(apic_.deliverable(), std::nullopt);
  apic_.accept(fixed(0x50));
  EXPECT_EQ(apic_.acknowledge(), 0x50);
  EXPECT_EQ(read(apic::kPpr), 0x50U);
  eoi();
  EXPECT_EQ(read(apic::kPpr), 0x40U);
  EXPECT_FALSE(apic_.isr().contains(0x50));
  eoi();
  EXPECT_EQ(apic_.acknowledge(), 0x4f);
}

TEST_F(LocalApicTest, TheTaskPriorityHoldsBackItsClassAndThoseBelow) {
  apic_.accept(fixed(0x4f));
  write(apic::kTpr, 0x41);
  EXPECT_EQ(apic_.deliverable(), std::nullopt);
  EXPECT_EQ(read(apic::kPpr), 0x41U);
  EXPECT_EQ(apic_.cr8(), 4);
  apic_.set_cr8(3);
  EXPECT_EQ(read(apic::kTpr), 0x30U);
  EXPECT_EQ(apic_.deliverable(), 0x4f);
  // PPR of both: of equal classes TPR, else the higher's (11.8.3.1).
  apic_.acknowledge();
  write(apic::kTpr, 0x4a);
  EXPECT_EQ(apic_.ppr(), 0x4a);
  write(apic::kTpr, 0x3a);
  EXPECT_EQ(apic_.ppr(), 0x40);
}

TEST_F(LocalApicTest, AnAcknowledgeOfNothingIsSpurious) {
  write(apic::kSvr, 0x1ef);
  EXPECT_EQ(apic_.acknowledge(), 0xef);
  EXPECT_EQ(apic_.isr(), VectorSet());
  apic_.accept(fixed(0x40));
  apic_.set_cr8(15);
  EXPECT_EQ(apic_.acknowledge(), 0xef);
  EXPECT_TRUE(apic_.irr().contains(0x40));
}

TEST_F(LocalApicTest, WhatWasInjectedAndNotTakenIsPendingAgain) {
  apic_.accept(fixed(0x45));
  const auto before = apic_;
  apic_.withdraw(apic_.acknowledge());
  EXPECT_EQ(apic_, before);
  apic_.withdraw(0x77);
  EXPECT_EQ(apic_, before);
}

TEST_F(LocalApicTest, TheEoiOfALevelTriggeredInterruptIsForTheIoapic) {
  apic_.accept(fixed(0x45, TriggerMode::kLevel));
  EXPECT_EQ(read(apic::kTmr + 0x20), 1U << 5);
  apic_.acknowledge();
  EXPECT_EQ(eoi(), 0x45);
  apic_.accept(fixed(0x45));
  EXPECT_EQ(read(apic::kTmr + 0x20), 0U);
  apic_.acknowledge();
  EXPECT_EQ(eoi(), std::nullopt);
}

// --- NMI, INIT and SIPI.

TEST_F(LocalApicTest, OneNmiCanBePending) {
  EXPECT_FALSE(apic_.take_nmi());
  apic_.accept(kNmi);
  apic_.accept(kNmi);
  EXPECT_TRUE(apic_.nmi_pending());
  EXPECT_TRUE(apic_.take_nmi());
  EXPECT_FALSE(apic_.take_nmi());
  apic_.restore_nmi();
  EXPECT_TRUE(apic_.take_nmi());
  EXPECT_EQ(apic_.irr(), VectorSet());
}

TEST(LocalApic, AnotherProcessorStartsOnceWithAStartupIpi) {
  LocalApic apic(1, false, 1'000'000);
  EXPECT_TRUE(apic.accept(startup(0x9a)));
  EXPECT_FALSE(apic.accept(startup(0x9b)));
  EXPECT_TRUE(apic.startup_pending());
  EXPECT_EQ(apic.state(), ProcessorState::kWaitForSipi);
  EXPECT_EQ(apic.take_startup(), 0x9a);
  EXPECT_EQ(apic.state(), ProcessorState::kRunning);
  EXPECT_FALSE(apic.accept(startup(0x9c)));
  EXPECT_EQ(apic.take_startup(), std::nullopt);
}

TEST(LocalApic, InitComesBeforeTheStartupThatFollowsIt) {
  LocalApic apic(1, false, 1'000'000);
  apic.accept(startup(0x9a));
  apic.take_startup();
  apic.write(apic::kSvr, 0x1ff, kNow);
  apic.write(apic::kLdr, 0x0200'0000, kNow);
  apic.accept(fixed(0x40));
  apic.accept(kNmi);
  EXPECT_TRUE(apic.accept(kInit));
  EXPECT_EQ(apic.state(), ProcessorState::kWaitForSipi);
  EXPECT_TRUE(apic.accept(startup(0x10)));
  EXPECT_EQ(apic.take_startup(), std::nullopt);
  EXPECT_TRUE(apic.take_init());
  EXPECT_FALSE(apic.take_init());
  // Reset, but for its ID.
  EXPECT_EQ(apic.irr(), VectorSet());
  EXPECT_FALSE(apic.nmi_pending());
  EXPECT_FALSE(apic.software_enabled());
  EXPECT_EQ(apic.read(apic::kLdr, kNow), 0U);
  EXPECT_EQ(apic.read(apic::kId, kNow), 1U << 24);
  apic.init_reset();  // Once more does no harm.
  EXPECT_EQ(apic.take_startup(), 0x10);
  EXPECT_EQ(apic.state(), ProcessorState::kRunning);
}

TEST(LocalApic, AnInitForgetsAStartupBeforeIt) {
  LocalApic apic(1, false, 1'000'000);
  apic.accept(startup(0x9a));
  apic.accept(kInit);
  EXPECT_TRUE(apic.take_init());
  EXPECT_EQ(apic.take_startup(), std::nullopt);
}

TEST_F(LocalApicTest, TheBootstrapProcessorDoesNotWaitForAStartup) {
  EXPECT_FALSE(apic_.accept(startup(0x10)));
  EXPECT_TRUE(apic_.accept(kInit));
  EXPECT_TRUE(apic_.take_init());
  EXPECT_EQ(apic_.state(), ProcessorState::kRunning);
}

TEST_F(LocalApicTest, AnSmiHasNoEffect) {
  const auto before = apic_;
  EXPECT_FALSE(apic_.accept({.mode = DeliveryMode::kSmi}));
  EXPECT_EQ(apic_, before);
}

TEST_F(LocalApicTest, ResetIsPowerUp) {
  apic_.accept(fixed(0x40, TriggerMode::kLevel));
  apic_.accept(fixed(0x50, TriggerMode::kLevel));
  apic_.acknowledge();
  for (std::uint32_t offset = 0; offset < 0x400; offset += 0x10) write(offset, 0x0008'4055);
  read(0x2f0);
  esr();
  read(0x2f0);
  apic_.accept(kInit);
  apic_.accept(kNmi);
  apic_.reset();
  EXPECT_EQ(apic_, LocalApic(3, true, 1'000'000));
}

}  // namespace
}  // namespace panicroom::kvm
