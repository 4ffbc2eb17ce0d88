// The real-time clock and its CMOS memory, an MC146818 at ports 0x70 (index) and 0x71 (data).
//
// It shows the time that it is handed with each read; a guest cannot set it. It has no interrupts: their enable bits
// read as 0 whatever is written, and register C, which would say that one came, is 0.
//
// A plain value: a copy is a snapshot. No clock, no lock, no failure whatever the guest writes.
#pragma once

#include <array>
#include <cstdint>

#include "hypervisor/kvm/devices/rtc_registers.h"

namespace panicroom::kvm {

class Rtc {
 public:
  // Port 0x70. Bit 7, by which PCs mask NMIs, is ignored: an NMI here always arrives. The index cannot be read back.
  void select(std::uint8_t index) { index_ = index & 0x7f; }

  // Port 0x71. The time is UTC in seconds since 1970, taken for the nearest from 1970 to 9999.
  [[nodiscard]] std::uint8_t read(std::int64_t epoch_seconds) const;
  void write(std::uint8_t value);

  friend bool operator==(const Rtc&, const Rtc&) = default;

 private:
  // A number as register B wants it.
  [[nodiscard]] std::uint8_t encode(unsigned number) const;
  [[nodiscard]] std::uint8_t encode_hours(unsigned hours) const;

  std::uint8_t index_ = 0;
  std::uint8_t register_a_ = rtc::kRegisterAReset;
  std::uint8_t register_b_ = rtc::kHours24;
  std::array<std::uint8_t, rtc::kRegisters> memory_{};  // Unused where there is a register.
};

}  // namespace panicroom::kvm
