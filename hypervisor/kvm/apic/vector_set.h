// 256 bits, one for each interrupt vector: the shape of the local APIC's IRR, ISR and TMR (Intel SDM Vol. 3, 11.8.4).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace panicroom::kvm {

class VectorSet {
 public:
  static constexpr std::size_t kWords = 8;

  void set(std::uint8_t vector) { words_[vector / 32U] |= 1U << (vector % 32U); }
  void clear(std::uint8_t vector) { words_[vector / 32U] &= ~(1U << (vector % 32U)); }
  [[nodiscard]] bool contains(std::uint8_t vector) const { return ((words_[vector / 32U] >> (vector % 32U)) & 1) != 0; }
  [[nodiscard]] std::optional<std::uint8_t> highest() const {
    for (std::size_t i = kWords; i-- > 0;) {
      if (words_[i] != 0)
        return static_cast<std::uint8_t>(i * 32 + 31 - static_cast<unsigned>(std::countl_zero(words_[i])));
    }
    return std::nullopt;
  }
  // The register with vectors 32 * index and up; index < kWords.
  [[nodiscard]] std::uint32_t word(std::size_t index) const { return words_[index]; }

  friend bool operator==(const VectorSet&, const VectorSet&) = default;

 private:
  std::array<std::uint32_t, kWords> words_{};
};

}  // namespace panicroom::kvm
