#include "hypervisor/kvm/devices/uart.h"

#include <gtest/gtest.h>

#include <string>

namespace panicroom::kvm {
namespace {

using namespace uart;  // NOLINT(google-build-using-namespace): the registers of what is tested.

constexpr std::uint8_t kOpen = kMcrDtr | kMcrRts | kMcrOut2;

TEST(UartTest, TransmitsAtOnceAndIsAlwaysReady) {
  Uart uart;
  for (const char c : std::string("panic")) {
    EXPECT_EQ(uart.read(kLineStatus), kLsrHoldingEmpty | kLsrTransmitterEmpty);
    uart.write(kData, static_cast<std::uint8_t>(c));
  }
  EXPECT_EQ(uart.take_output(), "panic");
  EXPECT_EQ(uart.take_output(), "");
}

TEST(UartTest, IsA16550AToLinuxProbe) {
  Uart uart;
  // autoconfig() of drivers/tty/serial/8250/8250_port.c: IER keeps four bits, ...
  uart.write(kInterruptEnable, 0);
  EXPECT_EQ(uart.read(kInterruptEnable), 0);
  uart.write(kInterruptEnable, 0xff);
  EXPECT_EQ(uart.read(kInterruptEnable), 0x0f);
  uart.write(kInterruptEnable, 0);
  // ... loopback mode connects the modem lines, ...
  uart.write(kModemControl, kMcrLoop | kMcrOut2 | kMcrRts);
  EXPECT_EQ(uart.read(kModemStatus) & 0xf0, kMsrDcd | kMsrCts);
  uart.write(kModemControl, 0);
  // ... the FIFOs can be turned on, there is no extended feature register where a 16650 has one, ...
  uart.write(kFifoControl, kFcrEnable);
  EXPECT_EQ(uart.read(kInterruptIdentify) >> 6, 3);
  uart.write(kLineControl, 0xbf);
  EXPECT_NE(uart.read(kInterruptIdentify), 0);
  // ... and they are not those of a 16750.
  uart.write(kLineControl, kLcrDivisorLatch);
  uart.write(kFifoControl, kFcrEnable | 0x20);
  EXPECT_EQ(uart.read(kInterruptIdentify) >> 5, 6);
  uart.write(kLineControl, 0);
  uart.write(kScratch, 0x5a);
  EXPECT_EQ(uart.read(kScratch), 0x5a);
  uart.write(kFifoControl, 0);
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirNone);
  EXPECT_EQ(uart.take_output(), "");
}

TEST(UartTest, TheDivisorLatchHidesDataAndInterruptEnable) {
  Uart uart;
  uart.write(kInterruptEnable, kIerLineStatus);
  uart.write(kLineControl, kLcrDivisorLatch | 0x03);
  uart.write(kData, 0x0c);
  uart.write(kInterruptEnable, 0x01);
  EXPECT_EQ(uart.read(kData), 0x0c);
  EXPECT_EQ(uart.read(kInterruptEnable), 0x01);
  uart.write(kLineControl, 0x03);
  EXPECT_EQ(uart.read(kLineControl), 0x03);
  EXPECT_EQ(uart.read(kData), 0);
  EXPECT_EQ(uart.read(kInterruptEnable), kIerLineStatus);
  EXPECT_EQ(uart.take_output(), "");
}

TEST(UartTest, InterruptsWhenTransmitEmptyIsEnabledAndAfterEachByte) {
  Uart uart;
  uart.write(kModemControl, kOpen);
  uart.read(kModemStatus);
  EXPECT_FALSE(uart.interrupt());
  uart.write(kInterruptEnable, kIerTransmitEmpty);
  EXPECT_TRUE(uart.interrupt());
  // To read IIR takes it back, but the register says once what it was.
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirTransmitEmpty);
  EXPECT_FALSE(uart.interrupt());
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirNone);
  uart.write(kData, 'x');
  EXPECT_TRUE(uart.interrupt());
  uart.write(kInterruptEnable, 0);
  EXPECT_FALSE(uart.interrupt());
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirNone);
  uart.write(kInterruptEnable, kIerTransmitEmpty);
  EXPECT_TRUE(uart.interrupt());
  // To enable what is enabled already is no event.
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirTransmitEmpty);
  uart.write(kInterruptEnable, kIerTransmitEmpty);
  EXPECT_FALSE(uart.interrupt());
}

TEST(UartTest, Out2AndLoopbackGateTheInterrupt) {
  Uart uart;
  uart.write(kInterruptEnable, kIerTransmitEmpty);
  EXPECT_FALSE(uart.interrupt());
  uart.write(kModemControl, kMcrOut2);
  EXPECT_TRUE(uart.interrupt());
  uart.write(kModemControl, kMcrOut2 | kMcrLoop);
  EXPECT_FALSE(uart.interrupt());
}

TEST(UartTest, ReceivesWhatItTransmitsInLoopback) {
  Uart uart;
  uart.write(kFifoControl, kFcrEnable | 0x40);  // Trigger level 4.
  uart.write(kInterruptEnable, kIerReceived);
  uart.write(kModemControl, kMcrLoop);
  for (std::uint8_t byte = 1; byte <= 3; ++byte) uart.write(kData, byte);
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirFifosEnabled | kIirTimeout);
  uart.write(kData, 4);
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirFifosEnabled | kIirReceived);
  for (std::uint8_t byte = 1; byte <= 4; ++byte) {
    EXPECT_NE(uart.read(kLineStatus) & kLsrDataReady, 0);
    EXPECT_EQ(uart.read(kData), byte);
  }
  EXPECT_EQ(uart.read(kLineStatus) & kLsrDataReady, 0);
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirFifosEnabled | kIirNone);
  EXPECT_EQ(uart.take_output(), "");
}

TEST(UartTest, ReportsWhatDidNotFit) {
  Uart uart;
  uart.write(kFifoControl, kFcrEnable);
  uart.write(kInterruptEnable, kIerLineStatus);
  uart.write(kModemControl, kMcrLoop);
  for (std::uint8_t byte = 0; byte < 17; ++byte) uart.write(kData, byte);
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirFifosEnabled | kIirLineStatus);
  EXPECT_NE(uart.read(kLineStatus) & kLsrOverrun, 0);
  EXPECT_EQ(uart.read(kLineStatus) & kLsrOverrun, 0);
  for (std::uint8_t byte = 0; byte < 16; ++byte) EXPECT_EQ(uart.read(kData), byte);
  EXPECT_EQ(uart.read(kData), 0);
  // Without FIFOs, the newest byte stays.
  uart.write(kFifoControl, 0);
  uart.write(kData, 1);
  uart.write(kData, 2);
  EXPECT_NE(uart.read(kLineStatus) & kLsrOverrun, 0);
  EXPECT_EQ(uart.read(kData), 2);
  EXPECT_EQ(uart.read(kLineStatus) & kLsrDataReady, 0);
}

TEST(UartTest, TheFifoControlEmptiesWhatWasReceived) {
  Uart uart;
  uart.write(kModemControl, kMcrLoop);
  for (const std::uint8_t control :
       {std::uint8_t{kFcrEnable}, std::uint8_t{kFcrEnable | kFcrClearReceive}, std::uint8_t{0}}) {
    uart.write(kData, 'x');
    EXPECT_NE(uart.read(kLineStatus) & kLsrDataReady, 0);
    uart.write(kFifoControl, control);
    EXPECT_EQ(uart.read(kLineStatus) & kLsrDataReady, 0) << int{control};
  }
}

TEST(UartTest, TellsOfChangedModemLinesOnce) {
  Uart uart;
  EXPECT_EQ(uart.read(kModemStatus), kMsrCts | kMsrDsr | kMsrDcd);
  uart.write(kInterruptEnable, kIerModemStatus);
  uart.write(kModemControl, kMcrLoop | kMcrRts | kMcrOut1);
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirModemStatus);
  EXPECT_EQ(uart.read(kModemStatus), kMsrCts | kMsrRi | kMsrDeltaDsr | kMsrDeltaDcd);
  EXPECT_EQ(uart.read(kInterruptIdentify), kIirNone);
  EXPECT_EQ(uart.read(kModemStatus), kMsrCts | kMsrRi);
  uart.write(kModemControl, kMcrLoop | kMcrDtr);
  EXPECT_EQ(uart.read(kModemStatus), kMsrDsr | kMsrDeltaCts | kMsrDeltaDsr | kMsrTrailingRi);
}

TEST(UartTest, HasEightPorts) {
  Uart uart;
  const Uart before = uart;
  uart.write(8, 0x55);
  uart.write(0xffff, 0x55);
  uart.write(kLineStatus, 0);
  uart.write(kModemStatus, 0);
  EXPECT_EQ(uart, before);
  EXPECT_EQ(uart.read(8), 0xff);
}

TEST(UartTest, ACopyIsASnapshot) {
  Uart uart;
  uart.write(kModemControl, kMcrLoop);
  uart.write(kData, 'a');
  Uart copy = uart;
  uart.write(kModemControl, 0);
  uart.write(kData, 'b');
  EXPECT_FALSE(uart == copy);
  EXPECT_EQ(copy.read(kData), 'a');
  EXPECT_EQ(copy.take_output(), "");
}

}  // namespace
}  // namespace panicroom::kvm
