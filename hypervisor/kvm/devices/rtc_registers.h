// The registers of the MC146818 real-time clock: Motorola's data sheet "MC146818", figures 14 and 16 to 19, and the
// PC's century byte behind it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace panicroom::kvm::rtc {

inline constexpr std::uint8_t kSeconds = 0x00;
inline constexpr std::uint8_t kSecondsAlarm = 0x01;
inline constexpr std::uint8_t kMinutes = 0x02;
inline constexpr std::uint8_t kMinutesAlarm = 0x03;
inline constexpr std::uint8_t kHours = 0x04;
inline constexpr std::uint8_t kHoursAlarm = 0x05;
inline constexpr std::uint8_t kDayOfWeek = 0x06;  // 1 is Sunday.
inline constexpr std::uint8_t kDayOfMonth = 0x07;
inline constexpr std::uint8_t kMonth = 0x08;
inline constexpr std::uint8_t kYear = 0x09;  // Of the century.
inline constexpr std::uint8_t kRegisterA = 0x0a;
inline constexpr std::uint8_t kRegisterB = 0x0b;
inline constexpr std::uint8_t kRegisterC = 0x0c;
inline constexpr std::uint8_t kRegisterD = 0x0d;
// A convention of PCs; the FADT's CENTURY field names it (ACPI 6.5, table 5.9).
inline constexpr std::uint8_t kCentury = 0x32;
inline constexpr std::size_t kRegisters = 128;

// Register A: the update in progress, which is never seen; the divider on at 32768 Hz, the rate 1024 Hz.
inline constexpr std::uint8_t kUpdateInProgress = 1U << 7;
inline constexpr std::uint8_t kRegisterAReset = 0x26;

// Register B.
inline constexpr std::uint8_t kSet = 1U << 7;
inline constexpr std::uint8_t kInterruptEnables = 0x70;  // Periodic, alarm, update ended.
inline constexpr std::uint8_t kBinary = 1U << 2;         // Else BCD.
inline constexpr std::uint8_t kHours24 = 1U << 1;        // Else 1 to 12, the afternoon with kAfternoon.
inline constexpr std::uint8_t kAfternoon = 1U << 7;

// Register D: the RAM and the time are valid.
inline constexpr std::uint8_t kValid = 1U << 7;

}  // namespace panicroom::kvm::rtc
