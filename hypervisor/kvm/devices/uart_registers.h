// The registers of the 16550A UART: National Semiconductor's PC16550D data sheet, section 8 "Registers", by its names.
#pragma once

#include <cstdint>

namespace panicroom::kvm::uart {

// Offsets from the base port. With LCR's divisor latch access bit, 0 and 1 are the divisor latch instead.
inline constexpr std::uint16_t kData = 0;               // Read: RBR. Write: THR.
inline constexpr std::uint16_t kInterruptEnable = 1;    // IER
inline constexpr std::uint16_t kInterruptIdentify = 2;  // Read: IIR. Write: FCR.
inline constexpr std::uint16_t kFifoControl = 2;
inline constexpr std::uint16_t kLineControl = 3;   // LCR
inline constexpr std::uint16_t kModemControl = 4;  // MCR
inline constexpr std::uint16_t kLineStatus = 5;    // LSR
inline constexpr std::uint16_t kModemStatus = 6;   // MSR
inline constexpr std::uint16_t kScratch = 7;       // SCR
inline constexpr std::uint16_t kPorts = 8;

// IER (8.7).
inline constexpr std::uint8_t kIerReceived = 1U << 0;
inline constexpr std::uint8_t kIerTransmitEmpty = 1U << 1;
inline constexpr std::uint8_t kIerLineStatus = 1U << 2;
inline constexpr std::uint8_t kIerModemStatus = 1U << 3;
inline constexpr std::uint8_t kIerMask = 0x0f;

// IIR (8.6, table IV): bit 0 is 0 while an interrupt is pending, and bits 1 to 3 say which, the most urgent first.
inline constexpr std::uint8_t kIirNone = 0x01;
inline constexpr std::uint8_t kIirLineStatus = 0x06;
inline constexpr std::uint8_t kIirReceived = 0x04;
inline constexpr std::uint8_t kIirTimeout = 0x0c;
inline constexpr std::uint8_t kIirTransmitEmpty = 0x02;
inline constexpr std::uint8_t kIirModemStatus = 0x00;
inline constexpr std::uint8_t kIirFifosEnabled = 0xc0;

// FCR (8.5).
inline constexpr std::uint8_t kFcrEnable = 1U << 0;
inline constexpr std::uint8_t kFcrClearReceive = 1U << 1;

// LCR (8.1).
inline constexpr std::uint8_t kLcrDivisorLatch = 1U << 7;

// MCR (8.8).
inline constexpr std::uint8_t kMcrDtr = 1U << 0;
inline constexpr std::uint8_t kMcrRts = 1U << 1;
inline constexpr std::uint8_t kMcrOut1 = 1U << 2;
inline constexpr std::uint8_t kMcrOut2 = 1U << 3;  // On a PC, lets the interrupt through.
inline constexpr std::uint8_t kMcrLoop = 1U << 4;
inline constexpr std::uint8_t kMcrMask = 0x1f;

// LSR (8.4).
inline constexpr std::uint8_t kLsrDataReady = 1U << 0;
inline constexpr std::uint8_t kLsrOverrun = 1U << 1;
inline constexpr std::uint8_t kLsrHoldingEmpty = 1U << 5;
inline constexpr std::uint8_t kLsrTransmitterEmpty = 1U << 6;

// MSR (8.9): the lines, and in the low half whether they changed since it was last read.
inline constexpr std::uint8_t kMsrDeltaCts = 1U << 0;
inline constexpr std::uint8_t kMsrDeltaDsr = 1U << 1;
inline constexpr std::uint8_t kMsrTrailingRi = 1U << 2;
inline constexpr std::uint8_t kMsrDeltaDcd = 1U << 3;
inline constexpr std::uint8_t kMsrCts = 1U << 4;
inline constexpr std::uint8_t kMsrDsr = 1U << 5;
inline constexpr std::uint8_t kMsrRi = 1U << 6;
inline constexpr std::uint8_t kMsrDcd = 1U << 7;

}  // namespace panicroom::kvm::uart
