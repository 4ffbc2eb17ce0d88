#include "hypervisor/kvm/devices/power.h"

namespace panicroom::kvm {
namespace {

// Reset control register (Intel ICH9 data sheet, 13.7.5): RST_CPU going up resets; SYS_RST and FULL_RST say how.
constexpr std::uint8_t kResetCpu = 1U << 2;
constexpr std::uint8_t kResetKind = 0x0a;

// The keyboard controller pulses its output port's lines that are 0 in the command's low half; line 0 is the reset.
constexpr std::uint8_t kPulseOutput = 0xf0;
constexpr std::uint8_t kPulseMask = 0x0f;
constexpr std::uint8_t kNoResetLine = 0x01;

// PM1_CNT (ACPI 6.5, table 4.16).
constexpr std::uint16_t kSciEnabled = 1U << 0;
constexpr unsigned kSleepTypeShift = 10;
constexpr std::uint16_t kSleepTypeMask = 7U << kSleepTypeShift;
constexpr std::uint16_t kSleepEnable = 1U << 13;

std::uint8_t byte_of(std::uint16_t value, bool high) { return static_cast<std::uint8_t>(high ? value >> 8 : value); }

std::uint16_t with_byte(std::uint16_t value, bool high, std::uint8_t byte) {
  return static_cast<std::uint16_t>(high ? (value & 0x00ff) | byte << 8 : (value & 0xff00) | byte);
}

}  // namespace

void PowerPorts::ask(PowerRequest request) {
  if (request_ == PowerRequest::kNone) request_ = request;
}

void PowerPorts::write_reset_control(std::uint8_t value) {
  if ((value & kResetCpu) != 0) ask(PowerRequest::kReset);
  reset_control_ = value & kResetKind;
}

void PowerPorts::write_keyboard_command(std::uint8_t value) {
  if ((value & ~kPulseMask & 0xff) == kPulseOutput && (value & kNoResetLine) == 0) ask(PowerRequest::kReset);
}

std::uint8_t PowerPorts::read_pm1a(std::uint16_t offset) const {
  switch (offset) {
    case 0:
    case 1:
      return 0;
    case 2:
    case 3:
      return byte_of(pm1_enable_, offset == 3);
    case 4:
    case 5:
      // SMI_CMD is absent, so the machine is in ACPI mode always (ACPI 6.5, 4.8.2.5).
      return byte_of(pm1_control_ | kSciEnabled, offset == 5);
    default:
      return 0xff;
  }
}

void PowerPorts::write_pm1a(std::uint16_t offset, std::uint8_t value) {
  switch (offset) {
    case 2:
    case 3:
      pm1_enable_ = with_byte(pm1_enable_, offset == 3, value);
      break;
    case 4:
    case 5: {
      const std::uint16_t control = with_byte(pm1_control_, offset == 5, value);
      // SLP_EN is written only, and so never kept: only a write to its own byte can set it.
      if ((control & kSleepEnable) != 0 && (control & kSleepTypeMask) >> kSleepTypeShift == kSleepTypeOff) {
        ask(PowerRequest::kPowerOff);
      }
      pm1_control_ = control & static_cast<std::uint16_t>(~kSleepEnable);
      break;
    }
    default:  // PM1_STS: writing a 1 clears an event; there is none.
      break;
  }
}

}  // namespace panicroom::kvm
