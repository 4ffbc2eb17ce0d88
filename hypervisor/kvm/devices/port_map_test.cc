#include "hypervisor/kvm/devices/port_map.h"

#include <gtest/gtest.h>

namespace panicroom::kvm {
namespace {

constexpr std::int64_t kNow = 1709251087;  // 2024-02-29 23:58:07 UTC

std::uint32_t in(Devices& devices, std::uint16_t port, unsigned width = 1) { return devices.in(port, width, kNow); }

TEST(DevicesTest, WhatIsNotThereReadsAsAllOnes) {
  Devices devices;
  const Devices before = devices;
  constexpr std::uint16_t kNowhere[] = {0x0, 0x80, 0x3f0, 0x3e8, 0x2f8, 0x401, 0x403, 0x500, 0x5ff, 0x606, 0xffff};
  for (const std::uint16_t port : kNowhere) {
    EXPECT_EQ(in(devices, port), 0xffU) << port;
    devices.out(port, 1, 0x04);
  }
  EXPECT_EQ(in(devices, 0x500, 2), 0xffffU);
  EXPECT_EQ(in(devices, 0xfffe, 4), 0xffff'ffffU);
  devices.out(0xfffe, 4, 0);
  EXPECT_EQ(devices, before);
}

TEST(DevicesTest, ImpossibleWidthsDoNothing) {
  Devices devices;
  for (const unsigned width : {0U, 3U, 5U, 8U, ~0U}) {
    devices.out(kAgentPort, width, 'x');
    EXPECT_EQ(in(devices, kAgentPort, width), ~0U);
  }
  EXPECT_EQ(devices.take_agent(), "");
}

TEST(DevicesTest, ConsoleAndAgentPortAreStreamsOfTheirOwn) {
  Devices devices;
  for (const char c : std::string("console")) devices.out(kConsolePort, 1, static_cast<std::uint8_t>(c));
  for (const char c : std::string("agent")) devices.out(kAgentPort, 1, static_cast<std::uint8_t>(c));
  EXPECT_EQ(in(devices, kAgentPort), 0xe9U);
  EXPECT_EQ(devices.take_console(), "console");
  EXPECT_EQ(devices.take_agent(), "agent");
  EXPECT_EQ(devices.take_console(), "");
  EXPECT_EQ(devices.take_agent(), "");
}

TEST(DevicesTest, TheConsolePullsIrqFour) {
  Devices devices;
  devices.out(kConsolePort + uart::kModemControl, 1, uart::kMcrOut2);
  EXPECT_EQ(devices.irq_lines(), 0);
  devices.out(kConsolePort + uart::kInterruptEnable, 1, uart::kIerTransmitEmpty);
  EXPECT_EQ(devices.irq_lines(), 1U << 4);
  EXPECT_EQ(in(devices, kConsolePort + uart::kInterruptIdentify), uart::kIirTransmitEmpty);
  EXPECT_EQ(devices.irq_lines(), 0);
}

TEST(DevicesTest, AWideAccessIsOneOfEachOfItsBytes) {
  Devices devices;
  // Scratch register and, behind it, a port with nothing.
  devices.out(kConsolePort + uart::kScratch, 2, 0x1234);
  EXPECT_EQ(in(devices, kConsolePort + uart::kScratch, 2), 0xff34U);
  devices.out(0x70, 2, 0xab40);  // Index and data at once.
  EXPECT_EQ(in(devices, 0x71), 0xabU);
  EXPECT_EQ(in(devices, 0x70, 2), 0xabffU);
}

TEST(DevicesTest, TheClockShowsTheTimeOfTheAccess) {
  Devices devices;
  devices.out(0x70, 1, rtc::kHours);
  EXPECT_EQ(in(devices, 0x71), 0x23U);
  EXPECT_EQ(devices.in(0x71, 1, kNow - 3600), 0x22U);
}

TEST(DevicesTest, BothPicsPassLinuxProbe) {
  Devices devices;
  // probe_8259A(): everything masked on the second, all but the cascade on the first.
  devices.out(0xa1, 1, 0xff);
  devices.out(0x21, 1, 0xfb);
  EXPECT_EQ(in(devices, 0x21), 0xfbU);
  EXPECT_EQ(in(devices, 0xa1), 0xffU);
  // init_8259A(): the initialisation words are no masks.
  for (const std::uint16_t port : {std::uint16_t{0x20}, std::uint16_t{0xa0}}) {
    const auto data = static_cast<std::uint16_t>(port + 1);
    devices.out(port, 1, 0x11);
    EXPECT_EQ(in(devices, data), 0U);
    for (const std::uint32_t word : {0x30, 0x04, 0x01}) devices.out(data, 1, word);
    EXPECT_EQ(in(devices, data), 0U);
    devices.out(data, 1, 0xfe);
    EXPECT_EQ(in(devices, data), 0xfeU);
    // No interrupt is requested or in service, and what ends one is accepted.
    for (const std::uint32_t command : {0x0a, 0x0b, 0x0c, 0x20, 0x60}) {
      devices.out(port, 1, command);
      EXPECT_EQ(in(devices, port), 0U);
    }
    EXPECT_EQ(in(devices, data), 0xfeU);
    // A single one without ICW4 has ICW2 alone.
    devices.out(port, 1, 0x12);
    devices.out(data, 1, 0x30);
    devices.out(data, 1, 0x55);
    EXPECT_EQ(in(devices, data), 0x55U);
  }
  devices.out(0x4d0, 2, 0xffff);
  EXPECT_EQ(in(devices, 0x4d0, 2), 0xdef8U);
}

TEST(DevicesTest, ThereIsNoPitAndNobodyWaitsForIt) {
  Devices devices;
  for (std::uint16_t port = 0x40; port < 0x44; ++port) {
    devices.out(port, 1, 0xff);
    EXPECT_EQ(in(devices, port), 0U);
  }
  devices.out(0x61, 1, 0xfd);
  // Output 2 is high, as pit_calibrate_tsc() waits for; hardware is never the reason for an NMI (bits 6 and 7).
  EXPECT_EQ(in(devices, 0x61), 0x2dU);
}

TEST(DevicesTest, ThereIsNoPci) {
  Devices devices;
  devices.out(0xcf8, 4, 0x8000'0400);  // Its second byte has the reset control register's bit 2.
  EXPECT_EQ(in(devices, 0xcf8, 4), ~0U);
  EXPECT_EQ(in(devices, 0xcfc, 4), ~0U);
  EXPECT_EQ(in(devices, 0xcfe, 2), 0xffffU);
  devices.out(0xcf9, 2, 0x0404);
  EXPECT_EQ(devices.power_request(), PowerRequest::kNone);
  // Mechanism #2's probe (arch/x86/pci/direct.c) finds nothing either.
  devices.out(0xcfb, 1, 0);
  devices.out(0xcf8, 1, 0);
  devices.out(0xcfa, 1, 0);
  EXPECT_EQ(in(devices, 0xcf8), 0xffU);
}

TEST(DevicesTest, AByteAtTheResetControlRegisterResets) {
  Devices devices;
  // As Linux does it: native_machine_emergency_restart(), BOOT_CF9_FORCE.
  EXPECT_EQ(in(devices, 0xcf9), 0U);
  devices.out(0xcf9, 1, 0x02);
  EXPECT_EQ(in(devices, 0xcf9), 0x02U);
  EXPECT_EQ(devices.power_request(), PowerRequest::kNone);
  devices.out(0xcf9, 1, 0x06);
  EXPECT_EQ(devices.power_request(), PowerRequest::kReset);
}

TEST(DevicesTest, TheKeyboardControllersResetCommandResets) {
  Devices devices;
  EXPECT_EQ(in(devices, 0x64), 0U);
  EXPECT_EQ(in(devices, 0x60), 0U);
  for (const std::uint32_t command : {0x20, 0x60, 0xaa, 0xad, 0xd1, 0xff, 0xfd, 0xee}) {
    Devices asked;
    asked.out(0x64, 1, command);
    EXPECT_EQ(asked.power_request(), (command & 0xf1) == 0xf0 ? PowerRequest::kReset : PowerRequest::kNone) << command;
  }
  devices.out(0x60, 1, 0xfe);
  EXPECT_EQ(devices.power_request(), PowerRequest::kNone);
  devices.out(0x64, 1, 0xfe);
  EXPECT_EQ(devices.power_request(), PowerRequest::kReset);
}

TEST(DevicesTest, SleepTypeZeroTurnsTheMachineOff) {
  Devices devices;
  EXPECT_EQ(in(devices, 0x604, 2), 0x0001U);
  // acpi_hw_legacy_sleep(): first the type, then the type with SLP_EN.
  devices.out(0x604, 2, 0x0001);
  EXPECT_EQ(devices.power_request(), PowerRequest::kNone);
  devices.out(0x604, 2, 0x2001);
  EXPECT_EQ(devices.power_request(), PowerRequest::kPowerOff);
  // Neither is the bit kept, nor does a later request count.
  EXPECT_EQ(in(devices, 0x604, 2), 0x0001U);
  devices.out(0xcf9, 1, 0x06);
  EXPECT_EQ(devices.power_request(), PowerRequest::kPowerOff);
}

TEST(DevicesTest, OtherSleepTypesDoNothing) {
  Devices devices;
  devices.out(0x604, 2, 0x3400);
  EXPECT_EQ(devices.power_request(), PowerRequest::kNone);
  EXPECT_EQ(in(devices, 0x604, 2), 0x1401U);
  // A write to the low half alone cannot set SLP_EN.
  devices.out(0x604, 2, 0);
  devices.out(0x604, 1, 0xff);
  EXPECT_EQ(devices.power_request(), PowerRequest::kNone);
}

TEST(DevicesTest, PowerManagementEventsCanBeEnabledAndNeverHappen) {
  Devices devices;
  devices.out(0x600, 2, 0xffff);
  devices.out(0x602, 2, 0x0321);
  EXPECT_EQ(in(devices, 0x600, 4), 0x0321'0000U);
}

TEST(DevicesTest, ACopyIsASnapshot) {
  Devices devices;
  devices.out(0x21, 1, 0xaa);
  Devices snapshot = devices;
  devices.out(0x21, 1, 0x55);
  devices.out(0xcf9, 1, 0x06);
  devices.out(kAgentPort, 1, 'x');
  EXPECT_FALSE(devices == snapshot);
  devices = snapshot;
  EXPECT_EQ(in(devices, 0x21), 0xaaU);
  EXPECT_EQ(devices.power_request(), PowerRequest::kNone);
  EXPECT_EQ(devices.take_agent(), "");
}

}  // namespace
}  // namespace panicroom::kvm
