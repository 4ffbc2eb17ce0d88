// The registers of a PC's two 8259A interrupt controllers (Intel's data sheet 231468), for a kernel that asks whether
// they are there and then masks them: Linux' probe_8259A() and init_8259A() (arch/x86/kernel/i8259.c). No device is
// connected to them, so they never interrupt: interrupts go through the IOAPIC.
//
// Plain values without clock, lock or failure.
#pragma once

#include <cstdint>

namespace panicroom::kvm {

class Pic {
 public:
  // `data` tells port 0x21 or 0xa1 from 0x20 or 0xa0. What the command port shows, ISR, IRR or a poll, is always 0.
  [[nodiscard]] std::uint8_t read(bool data) const { return data ? mask_ : std::uint8_t{0}; }

  void write(bool data, std::uint8_t value) {
    if (!data) {
      // OCW2 and OCW3 (bit 4 clear) choose what is read and end interrupts: here without effect.
      if ((value & kIcw1) == 0) return;
      mask_ = 0;
      // ICW2 always follows, ICW3 if there is another 8259A, ICW4 if asked for.
      initialisation_words_ =
          static_cast<std::uint8_t>(1 + ((value & kSingle) == 0 ? 1 : 0) + ((value & kIcw4Needed) != 0 ? 1 : 0));
    } else if (initialisation_words_ > 0) {
      --initialisation_words_;
    } else {
      mask_ = value;
    }
  }

  friend bool operator==(const Pic&, const Pic&) = default;

 private:
  static constexpr std::uint8_t kIcw1 = 1U << 4;
  static constexpr std::uint8_t kSingle = 1U << 1;
  static constexpr std::uint8_t kIcw4Needed = 1U << 0;

  std::uint8_t mask_ = 0;
  std::uint8_t initialisation_words_ = 0;  // How many of ICW2 to ICW4 are still to come.
};

// The edge/level control registers at 0x4d0 and 0x4d1: kept as written, but for those interrupts that are always edge
// (0, 1, 2, 8 and 13).
class EdgeLevelControl {
 public:
  [[nodiscard]] std::uint8_t read(bool second) const { return second ? second_ : first_; }
  void write(bool second, std::uint8_t value) {
    if (second) {
      second_ = value & 0xde;
    } else {
      first_ = value & 0xf8;
    }
  }

  friend bool operator==(const EdgeLevelControl&, const EdgeLevelControl&) = default;

 private:
  std::uint8_t first_ = 0;
  std::uint8_t second_ = 0;
};

}  // namespace panicroom::kvm
