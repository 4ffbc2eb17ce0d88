// Every way by which a guest turns its machine off or resets it: the PC's reset control register, the keyboard
// controller's reset command, and ACPI's fixed PM1a registers (ACPI 6.5, 4.8.3).
//
// A plain value: a copy is a snapshot. No clock, no lock, no failure whatever the guest writes. What a guest asked for
// first stays asked for.
#pragma once

#include <cstdint>

namespace panicroom::kvm {

enum class PowerRequest : std::uint8_t { kNone, kReset, kPowerOff };

inline constexpr std::uint16_t kKeyboardData = 0x60;
inline constexpr std::uint16_t kKeyboardCommand = 0x64;
// PM1_STS and PM1_EN, two bytes each; PM1_CNT. The FADT names these ports.
inline constexpr std::uint16_t kPm1aEventBlock = 0x600;
inline constexpr std::uint8_t kPm1aEventBytes = 4;
inline constexpr std::uint16_t kPm1aControl = 0x604;
inline constexpr std::uint8_t kPm1aControlBytes = 2;
// The reset control register, and what the FADT tells a guest to write to it.
inline constexpr std::uint16_t kResetControl = 0xcf9;
inline constexpr std::uint8_t kResetValue = 0x06;
// What SLP_TYP has to be for the soft-off state S5: the DSDT's \_S5 says so.
inline constexpr std::uint8_t kSleepTypeOff = 0;

class PowerPorts {
 public:
  [[nodiscard]] PowerRequest request() const { return request_; }

  // A byte access to 0xcf9. One that is wider goes to PCI's configuration address and must not come here.
  [[nodiscard]] std::uint8_t read_reset_control() const { return reset_control_; }
  void write_reset_control(std::uint8_t value);

  // Port 0x64. There is no keyboard controller, and the FADT says so; but Linux' last resort is to send it the reset
  // command as soon as it is not busy. Its status reads 0: not busy, nothing to read.
  void write_keyboard_command(std::uint8_t value);

  // The byte at `offset` from kPm1aEventBlock, 0 to 5. A power-management event never happens: PM1_STS is 0.
  [[nodiscard]] std::uint8_t read_pm1a(std::uint16_t offset) const;
  void write_pm1a(std::uint16_t offset, std::uint8_t value);

  friend bool operator==(const PowerPorts&, const PowerPorts&) = default;

 private:
  void ask(PowerRequest request);

  PowerRequest request_ = PowerRequest::kNone;
  std::uint8_t reset_control_ = 0;
  std::uint16_t pm1_enable_ = 0;
  std::uint16_t pm1_control_ = 0;
};

}  // namespace panicroom::kvm
