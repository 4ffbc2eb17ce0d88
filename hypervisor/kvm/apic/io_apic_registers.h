// The IOAPIC's registers: Intel's data sheet 82093AA "I/O Advanced Programmable Interrupt Controller (IOAPIC)", 3.1
// "Memory Mapped Registers" and 3.2 "IOAPIC Registers".
#pragma once

#include <cstdint>

namespace panicroom::kvm::io_apic {

inline constexpr std::uint64_t kBase = 0xfec0'0000;
inline constexpr std::uint32_t kPageBytes = 0x1000;

// In memory.
inline constexpr std::uint32_t kSelect = 0x00;  // IOREGSEL.
inline constexpr std::uint32_t kWindow = 0x10;  // IOWIN.

// By the index in IOREGSEL.
inline constexpr std::uint8_t kId = 0x00;
inline constexpr std::uint8_t kVersion = 0x01;
inline constexpr std::uint8_t kArbitration = 0x02;
inline constexpr std::uint8_t kRedirection = 0x10;  // IOREDTBL: two for each pin, the low half first.

inline constexpr std::uint32_t kPins = 24;
// Version 0x11, which has no EOI register of its own; bits 16 to 23 the last entry.
inline constexpr std::uint32_t kVersionValue = ((kPins - 1) << 16) | 0x11;
inline constexpr std::uint32_t kIdWritable = 0x0f00'0000;

// A redirection entry's 64 bits: 3.2.4.
inline constexpr unsigned kDeliveryModeShift = 8;
inline constexpr std::uint64_t kDeliveryModeMask = 7;
inline constexpr std::uint64_t kLogical = 1U << 11;
inline constexpr std::uint64_t kDeliveryStatus = 1U << 12;  // Read-only; idle, as every message arrives at once.
inline constexpr std::uint64_t kPolarityLow = 1U << 13;
inline constexpr std::uint64_t kRemoteIrr = 1U << 14;  // Read-only.
inline constexpr std::uint64_t kTriggerLevel = 1U << 15;
inline constexpr std::uint64_t kMasked = 1U << 16;
inline constexpr unsigned kDestinationShift = 56;
inline constexpr std::uint64_t kWritable = 0xff00'0000'0001'afff;

}  // namespace panicroom::kvm::io_apic
