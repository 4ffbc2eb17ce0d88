// A gate of the 64-bit interrupt descriptor table: Intel SDM Vol. 3A, 6.14.1, figure 6-8.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "base/address.h"

namespace panicroom::kvm {

inline constexpr std::uint64_t kGateBytes = 16;

// Where it leads; nothing if it is not present.
inline std::optional<Gva> handler_of(const std::array<std::byte, kGateBytes>& gate) {
  constexpr std::uint32_t kPresent = 1U << 15;
  std::array<std::uint32_t, 3> words{};
  std::memcpy(words.data(), gate.data(), sizeof(words));
  if ((words[1] & kPresent) == 0) return std::nullopt;
  return Gva{(words[0] & 0xffff) | (words[1] & 0xffff0000) | (std::uint64_t{words[2]} << 32)};
}

}  // namespace panicroom::kvm
